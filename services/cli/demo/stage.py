"""What every demo does around its turn: the services as child processes, the closing page, `demo.json`.

The services are those of `ratchet up`, as the same processes. Exit status 0 when the careless candidate was rejected
and the default one promoted; 1 when the loop did otherwise.
"""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console

from services.cli.demo.figures import closing_page, how_to_call
from services.cli.demo.screen import Screen
from services.cli.demo.turn import Turn
from shared.errors import BadConfig, RatchetError
from shared.processes import SUPERVISED
from shared.settings import SharedSettings

TurnOf = Callable[[Screen, SharedSettings], Turn]


def fresh(folder: Path) -> Path:
    """The folder, or where it is in use the first of folder-2, folder-3 ...: no demo writes into another's data."""
    folder = folder.resolve()
    if not folder.exists() or not any(folder.iterdir()):
        return folder
    for number in itertools.count(2):
        other = folder.with_name(f"{folder.name}-{number}")
        if not other.exists():
            return other
    raise BadConfig("unreachable")


def perform(console: Console, folder: Path, environment: Mapping[str, str], turn_of: TurnOf, *, keep: bool) -> int:
    """Services up, one turn, the closing page; `keep`: until Ctrl-C."""
    with _deployment(folder, environment) as settings, Screen(console) as screen:
        turn = turn_of(screen, settings)
        try:
            figures = asyncio.run(turn.run())
        except (RatchetError, httpx.HTTPError) as error:
            screen.say(f"the demo stops: {error}", style="red")
            screen.say(f"the services' log: {folder / 'up.log'}")
            return 1
        figures.write(folder / "demo.json")
        screen.__exit__(None, None, None)
        closing_page(console, figures, settings, folder)
        if keep:
            how_to_call(console, settings)
            _wait_for_ctrl_c()
    return 0 if figures.as_expected else 1


def see_only(environment: Mapping[str, str]) -> None:
    """This process finds the demo's services and no others: not those that the caller's RATCHET_..._URL name."""
    for name in [name for name in os.environ if name.startswith("RATCHET_") and not name.startswith("RATCHET_STACK_")]:
        del os.environ[name]
    os.environ.update({name: word for name, word in environment.items() if name.startswith("RATCHET_")})


def stop_on_sigterm() -> None:
    """By an exception, so that whatever was started is stopped on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextmanager
def _deployment(folder: Path, environment: Mapping[str, str]) -> Iterator[SharedSettings]:
    """`ratchet up` as a child process with its log in the data folder; stopped cleanly at the end."""
    see_only(environment)
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up"],
            env={**environment, SUPERVISED: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield SharedSettings.load()
        finally:
            up.terminate()
            try:
                up.wait(30)
            except subprocess.TimeoutExpired:
                up.kill()


def _wait_for_ctrl_c() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()
