"""The drift report as one HTML file: the state first, then each signal with a small plot, the gravest first.

The same findings, the same page. It holds no script and loads nothing; what came from outside is escaped, and none of
the answers' text is on it.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.drift.comparison import Standing, State, Window
from services.drift.plots import plot_of
from services.drift.signals import SIGNALS

LEADS = {
    State.OK: ("✓", "No drift", "Every signal that is carried could be judged, and none has moved."),
    State.INSUFFICIENT_DATA: ("…", "Too few events", "What could be judged has not moved; the rest is unknown."),
    State.WARN: ("!", "Moved once", "A signal has moved in the last window. One window is no drift yet."),
    State.DRIFT: ("✕", "Drift", "A signal has moved in two windows in a row."),
}
_ORDER = [State.DRIFT, State.WARN, State.INSUFFICIENT_DATA, State.OK]
_ANSWERS = {True: "moved", False: "as before", None: "too few events"}


def render_report(
    state: State,
    standings: Sequence[Standing],
    reference: Window,
    windows: Sequence[Window],
    absent: Sequence[str],
    notes: Sequence[str],
) -> str:
    """HTML. windows: oldest first; the plots show the last."""
    mark, lead, meaning = LEADS[state]
    rows = [_row(standing, reference, windows[-1]) for standing in sorted(standings, key=_gravity)]
    template = _environment().get_template("report.html.j2")
    return template.render(
        state=state, mark=mark, lead=lead, meaning=meaning, rows=rows, windows=len(windows), absent=absent, notes=notes
    )


def _row(standing: Standing, reference: Window, last: Window) -> dict[str, Any]:
    mark, _, _ = LEADS[standing.state]
    return {
        "signal": SIGNALS[standing.signal],
        "mark": mark,
        "standing": standing,
        "answers": [_ANSWERS[answer] for answer in standing.moved],
        "plot": plot_of(standing, reference, last),
    }


def _gravity(standing: Standing) -> int:
    return _ORDER.index(standing.state)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "report_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
