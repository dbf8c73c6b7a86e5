"""`ratchet drift`: whether the answers of one file are those of another.

Services never import each other, so the comparison runs as the drift part's own program, in a process of its own, as
`ratchet gate` does. Its exit status is this command's; wrong usage ends with 3 here, too.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

PROGRAM = "services.drift.drift_files"


def drift(
    reference: Annotated[Path, typer.Argument(help="Answers of a time when all was well, a JSON object a line")],
    current: Annotated[Path, typer.Argument(help="Answers of now, oldest first")],
    windows: Annotated[int, typer.Option(help="Into how many windows the current answers are cut, oldest first")] = 2,
    signal: Annotated[list[str] | None, typer.Option(help="Look at this signal only; may be repeated")] = None,
    workload: Annotated[str | None, typer.Option("--workload", "-w", help="Only this workload's answers")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with a plot a signal here (HTML)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False,
) -> None:
    """Compare two files of answers, without any service; `{"prompt": "...", "answer": "..."}` a line.

    Status 0: ok; 1: drift; 2: warn or insufficient data; 3: unusable input, with file, line and reason.
    """
    command = [sys.executable, "-m", PROGRAM, f"--windows={windows}", *(f"--signal={name}" for name in signal or [])]
    command += [f"--workload={workload}"] if workload is not None else []
    command += [f"--report={report}"] if report is not None else []
    command += ["--json"] if as_json else []
    ended = subprocess.run([*command, "--", str(reference), str(current)], check=False).returncode
    raise typer.Exit(ended if ended >= 0 else 128 - ended)
