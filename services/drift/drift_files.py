"""Drift between two files, behind `ratchet drift`: `python -m services.drift.drift_files REFERENCE CURRENT`.

Needs no service, setting or database, and writes nothing but its findings (and the page that --report names).
Ends with 0 ok, 1 drift, 2 warn or insufficient data, 3 unusable input (a sentence on standard error), 70 a bug here.
The current file is cut, in its own order, into --windows windows of equal size, so that "two in a row" has a meaning.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.drift.comparison import MIN_EVENTS, Standing, State, Window, compare, gravest, standings
from services.drift.event_files import EventFile, read_events
from services.drift.signals import SIGNALS
from shared.errors import Unusable
from shared.file_program import Parser, status_of
from shared.plain import shown

STATUS = {State.OK: 0, State.DRIFT: 1, State.WARN: 2, State.INSUFFICIENT_DATA: 2}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is printed and drawn."""

    state: State
    standings: list[Standing]
    absent: list[str]  # signals that neither file carries
    notes: list[str]
    reference: Window
    windows: list[Window]
    answers: tuple[int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    return status_of(lambda: _answer(arguments))


def _answer(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    reference, current = (read_events(file, options.workload) for file in (options.reference, options.current))
    found = compare_files(reference, current, windows=options.windows, only=options.signal)
    if options.report is not None:
        _write_report(found, options)
    print(as_json(found) if options.json else as_text(found))
    return STATUS[found.state]


def compare_files(
    reference: EventFile, current: EventFile, *, windows: int = 2, only: Sequence[str] = ()
) -> Comparison:
    """only: names of signals; none: all that either file carries."""
    before, cut = _window(reference.answers, only), _cut(len(current.answers), windows)
    now = [_window(current.answers[start:end], only) for start, end in cut]
    found = standings([compare(before, window) for window in now])
    if not found:
        raise Unusable(
            f"neither file carries {', '.join(only) or 'any signal'}; see docs/drift.md for the keys of a line"
        )
    named = {standing.signal for standing in found}
    return Comparison(
        state=gravest([standing.state for standing in found]),
        standings=found,
        absent=[name for name in SIGNALS if name not in named and (not only or name in only)],
        notes=_notes(reference, current, len(now)),
        reference=before,
        windows=now,
        answers=(len(reference.answers), len(current.answers)),
    )


def as_text(found: Comparison) -> str:
    lines = [str(found.state), *(f"- {s.signal}: {s.state}: {shown(s.last.why)}" for s in found.standings)]
    lines += [f"- not in either file: {', '.join(found.absent)}"] if found.absent else []
    return "\n".join([*lines, *(f"- {shown(note)}" for note in found.notes)])


def as_json(found: Comparison) -> str:
    said: dict[str, Any] = {
        "state": found.state,
        "answers": {"reference": found.answers[0], "current": found.answers[1]},
        "windows": len(found.windows),
        "signals": [_signal(standing) for standing in found.standings],
        "absent": found.absent,
        "notes": found.notes,
    }
    return json.dumps(said, indent=1, allow_nan=False)


def _signal(standing: Standing) -> dict[str, Any]:
    last = dataclasses.asdict(standing.last)
    last["figures"] = {name: value if math.isfinite(value) else None for name, value in last["figures"].items()}
    del last["signal"], last["large"]
    return {"signal": standing.signal, "state": standing.state, "moved": list(standing.moved), "last_window": last}


def _window(answers: Sequence[dict[str, Any]], only: Sequence[str]) -> Window:
    whole = Window.of(answers)
    return Window({name: values for name, values in whole.values.items() if not only or name in only})


def _cut(answers: int, windows: int) -> list[tuple[int, int]]:
    """Windows of equal size; fewer where they would be too small to be judged, one at least."""
    held = max(1, min(windows, answers // MIN_EVENTS))
    return [(answers * place // held, answers * (place + 1) // held) for place in range(held)]


def _notes(reference: EventFile, current: EventFile, windows: int) -> list[str]:
    notes = []
    if windows == 1:
        notes.append("the current file is one window: drift needs two in a row, so warn is the gravest it can say")
    if reference.versions and current.versions and reference.versions != current.versions:
        before, now = (", ".join(sorted(side)) for side in (reference.versions, current.versions))
        notes.append(f"other model versions answered ({before} before, {now} now): signals of answers compare those")
    return notes


def _write_report(found: Comparison, options: argparse.Namespace) -> None:
    from services.drift.report import render_report

    page = render_report(found.state, found.standings, found.reference, found.windows, found.absent, found.notes)
    try:
        options.report.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unusable(f"the report {options.report} cannot be written: {error.strerror or error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ratchet drift", description="Whether the answers of now are those of before.")
    parser.add_argument("reference", type=Path)
    parser.add_argument("current", type=Path)
    parser.add_argument("--windows", type=_count, default=2)
    parser.add_argument("--signal", action="append", default=[], choices=list(SIGNALS))
    parser.add_argument("--workload")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("should be from 1 to 1000")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
