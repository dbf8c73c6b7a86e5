"""`ratchet gate`: promotion's gate on two files of results.

Services never import each other, so the judging runs as promotion's own program, in a process of its own, as `ratchet
up` runs services. Its exit status is this command's: 0, 1, 2 are verdicts, so wrong usage ends with 3 here, too.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

PROGRAM = "services.promotion.gate_files"
UNUSABLE = 3
_WrongUsage: Any = typer.BadParameter.__base__  # what missing arguments and unknown options raise, too


class GateCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _WrongUsage as error:
            print(f"ratchet: {error}; see `ratchet gate --help`", file=sys.stderr)
            raise typer.Exit(UNUSABLE) from error


def gate(
    champion: Annotated[Path, typer.Argument(help="Results of the version that serves, a JSON object a line")],
    candidate: Annotated[Path, typer.Argument(help="Results of the version that wants to, on the same items")],
    policy: Annotated[
        Path | None,
        typer.Option(help="TOML with the keys of ratchet.toml's \\[workloads.NAME.gate]; else the defaults"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False,
) -> None:
    """Judge two files of per-item results, without any service; `{"item": "17", "score": 1}` a line.

    Status 0: PROMOTE; 1: REJECT; 2: INCONCLUSIVE; 3: unusable input, with file, line and reason.
    """
    command = [sys.executable, "-m", PROGRAM]
    command += [f"--policy={policy}"] if policy is not None else []
    command += ["--json"] if as_json else []
    ended = subprocess.run([*command, "--", str(champion), str(candidate)], check=False).returncode
    raise typer.Exit(ended if ended >= 0 else 128 - ended)
