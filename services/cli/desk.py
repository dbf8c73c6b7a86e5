"""`ratchet desk`: the place where experts work, when that is Argilla (docs/argilla.md)."""

import subprocess
import sys
from typing import Annotated, Any

import typer

from services.cli.pages import console, table_of
from services.cli.plain import cell
from shared.calls import Caller
from shared.plain import as_json as json_text
from shared.settings import SharedSettings

desk = typer.Typer(no_args_is_help=True, help="Argilla, where experts correct answers: set it up, see how it stands.")
out = console()

Names = list[str]


@desk.command("setup")
def setup(
    annotator: Annotated[
        Names | None, typer.Option("--annotator", help="Somebody who corrects; repeat for more")
    ] = None,
    reviewer: Annotated[Names | None, typer.Option("--reviewer", help="Somebody who decides disagreements")] = None,
) -> None:
    """Make what is missing at Argilla: workspaces, a dataset for each workload, accounts. Harmless when repeated."""
    names = [*_options("--annotator", annotator), *_options("--reviewer", reviewer)]
    # A process of its own: services never import each other, and annotation owns the desk.
    done = subprocess.run([sys.executable, "-m", "services.annotation.desk_setup", *names], check=False)
    raise typer.Exit(done.returncode)


@desk.command("status")
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False) -> None:
    """Show each dataset at the desk, how much waits, and how well annotators agree."""
    found = Caller(SharedSettings.load().url_of("annotation")).get("/v1/desk/status")
    if as_json:
        print(json_text(found))
        return
    out.print(f"experts work at {found['url']}", highlight=False)
    table = table_of("dataset", "state", "waiting", "done")
    for row in found["datasets"]:
        table.add_row(*[cell(str(row[key])) for key in ("dataset", "state", "waiting", "done")])
    out.print(table)
    for name, workload in found["workloads"].items():
        out.print(_sentence(name, workload), highlight=False)
        for annotator, figures in workload["annotators"].items():
            out.print(f"    {annotator}: {_figures(figures)}", highlight=False, markup=False)


def _options(flag: str, names: Names | None) -> Names:
    return [word for name in names or [] for word in (flag, name)]


def _sentence(name: str, workload: dict[str, Any]) -> str:
    alpha = workload["alpha"]
    agreement = "not measured yet" if alpha is None else f"{alpha:.2f} (Krippendorff's alpha; 1 is full, 0 is chance)"
    return (
        f"{name}: agreement {agreement}; {workload['awaiting_another']} await another opinion, "
        f"{workload['disputed']} a reviewer"
    )


def _figures(figures: dict[str, Any]) -> str:
    alpha, gold = figures["alpha"], figures["gold_right_share"]
    words = [f"{figures['answers']} answers"]
    words += [] if alpha is None else [f"alpha with the others {alpha:.2f}"]
    words += [] if gold is None else [f"{gold:.0%} of {figures['gold_answers']} gold items right"]
    return ", ".join(words)
