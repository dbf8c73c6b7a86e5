"""The doctor's findings as a page for people, and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from services.cli.doctor.findings import Finding, State, status_of
from services.cli.pages import table_of
from services.cli.plain import cell
from shared.plain import shown

COLOURS = {State.OK: "green", State.LOOK: "yellow", State.WRONG: "red", State.SKIPPED: "dim"}


def show(findings: Sequence[Finding], console: Console) -> None:
    table = table_of("check", "state", "what was found", "what to do")
    for finding in findings:
        state = Text(finding.state.value, style=COLOURS[finding.state])
        table.add_row(cell(finding.check), state, cell(finding.says), cell(finding.do))
    console.print(table)
    console.print(Text(shown(summary(findings))))


def summary(findings: Sequence[Finding]) -> str:
    count = Counter(finding.state for finding in findings)
    said = f"{count[State.OK]} fine, {count[State.LOOK]} to look at, {count[State.WRONG]} wrong"
    return f"{said}, {count[State.SKIPPED]} skipped" if count[State.SKIPPED] else said


def as_object(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"status": status_of(findings), "summary": summary(findings), "findings": [asdict(f) for f in findings]}
