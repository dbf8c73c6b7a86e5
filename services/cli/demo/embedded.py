"""`ratchet demo`: the whole loop once on embedded defaults, in public."""

from pathlib import Path

from rich.console import Console

from services.cli.demo.scenario import MIN_GROUPS, environment, write_scenario
from services.cli.demo.stage import fresh, perform, stop_on_sigterm
from services.cli.demo.turn import Turn


def run_demo(folder: Path, *, seed: int, keep: bool) -> int:
    stop_on_sigterm()
    console, folder = Console(), fresh(folder)
    write_scenario(folder)
    console.print(f"[bold]Ratchet's loop, once.[/bold] Everything stays in {folder}")
    console.print(
        f"The expert is simulated (it works the desk over HTTP). The demo's holdout needs {MIN_GROUPS} groups; the "
        "default is 200.\n",
        highlight=False,
    )
    return perform(
        console, folder, environment(folder), lambda screen, settings: Turn(screen, settings, seed), keep=keep
    )
