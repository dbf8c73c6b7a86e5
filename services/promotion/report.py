"""The promotion report as one HTML file: verdict and reasons first, then what they rest on.

Reads nothing but its data (report_data.py) and the templates beside it; the same data, the same page. The page holds
no script and loads nothing. Captured text is escaped; characters that hide are shown. What has no figure says so.
"""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.promotion import plots
from services.promotion.report_data import Lineage, Report
from services.promotion.word_diff import hidden_split, visible_space, word_diff

NO_FIGURE = Markup('<span class="none">no figure</span>')
MOST_CHANGES = 12  # of each kind; the counts are in the paired table
MOST_OVERLAPS = 12
MOST_IDS = 60
MOST_CHARACTERS = 3_000  # of one text; a diff of longer ones helps nobody

SECTIONS_OF_NOTHING: dict[str, Any] = {
    "reasons": [],
    "holdout": None,
    "ledger": None,
    "guards": [],
    "general": None,
    "training": None,
    "examples_better": [],
    "examples_worse": [],
    "contamination": None,
    "broke": None,
    "lineage": {},
    "policy": {},
    "harness_sha256": None,
}
LEADS = {
    "PROMOTE": ("✓", "Passes the gate", "The new version may serve."),
    "REJECT": ("✕", "Rejected", "The version that serves now stays."),
    "INCONCLUSIVE": ("?", "No verdict", "The figures cannot carry one; the version that serves now stays."),
}


def render_report(report: Report | Mapping[str, Any]) -> str:
    """HTML. Sections without data say so; a missing part of the data is a part without data."""
    data: dict[str, Any] = {**SECTIONS_OF_NOTHING, **{key: part for key, part in report.items() if part is not None}}
    mark, lead, meaning = LEADS.get(data["verdict"], ("?", str(data["verdict"]), ""))
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=data,
            mark=mark,
            lead=lead,
            meaning=meaning,
            better=data["examples_better"][:MOST_CHANGES],
            worse=data["examples_worse"][:MOST_CHANGES],
            most_changes=MOST_CHANGES,
            most_overlaps=MOST_OVERLAPS,
            most_ids=MOST_IDS,
            commands=_commands(data),
        )
    )


def percent(value: Any) -> str:
    number = plots.finite(value)
    return NO_FIGURE if number is None else f"{number * 100:.1f} %"


def points(value: Any) -> str:
    number = plots.finite(value)
    return NO_FIGURE if number is None else f"{number * 100:+.1f} points".replace("-", "−")


def number(value: Any, digits: int = 3) -> str:
    known = plots.finite(value)
    if known is None:
        return NO_FIGURE
    return f"{known:,.0f}" if known == int(known) and abs(known) < 1e12 else f"{known:.{digits}g}"


def p_value(value: Any) -> str:
    known = plots.finite(value)
    if known is None:
        return NO_FIGURE
    return "< 0.0001" if known < 0.0001 else f"{known:.2g}"


def duration(seconds: Any) -> str:
    known = plots.finite(seconds)
    if known is None:
        return NO_FIGURE
    minutes, rest = divmod(round(known), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{known:.1f} s"


def measure(value: Any, unit: str) -> str:
    """A guard's figure in the guard's unit."""
    if unit == "share":
        return percent(value)
    shown = number(value)
    return shown if shown is NO_FIGURE or unit == "count" else f"{shown} {unit}"


def change(value: Any, unit: str) -> str:
    """A guard's difference in the guard's unit, with its sign."""
    known = plots.finite(value)
    if known is None or unit == "share":
        return points(known)
    sign = "+" if known > 0 else "−" if known < 0 else ""
    return sign + measure(abs(known), unit)


def amount(value: Any, unit: str) -> str:
    """A guard's margin in the guard's unit: a size, without a sign."""
    return change(value, unit).lstrip("+")


def moment(time: Any) -> str:
    """RFC 3339 as people write it, in UTC; what is not a time is shown as it came."""
    try:
        read = datetime.fromisoformat(str(time))
    except ValueError:
        return str(time)
    return f"{read.astimezone(UTC):%d %B %Y, %H:%M} UTC" if read.tzinfo else str(time)


def place(uri: Any) -> str:
    """Where an artifact is, seen from the data folder: a report travels, its machine does not."""
    if not uri:
        return NO_FIGURE
    parsed = urlsplit(str(uri))
    path = unquote(parsed.path) if parsed.scheme == "file" else str(uri)
    _, found, inside = path.rpartition("/artifacts/")
    if found:
        return f"artifacts/{inside}"
    return path if not path.startswith("/") else "…/" + path.rstrip("/").rpartition("/")[2]


def captured(text: Any) -> Markup:
    """Captured text, escaped, cut when very long, hidden characters shown."""
    return _shown(_cut(text))


def difference(answer: Any, expected: Any) -> Markup:
    """What the answer said beside what was expected, word by word."""
    said, ideal = _cut(answer), _cut(expected)
    return Markup("").join(_part(kind, text) for kind, text in word_diff(said, ideal))


def _part(kind: str, text: str) -> Markup:
    if kind == "same":
        return _shown(text)
    name = "ins" if kind == "added" else "del"
    return Markup(f"<{name}>%s</{name}>") % _shown(visible_space(text))


def _shown(text: str) -> Markup:
    badge = Markup('<span class="hidden-character" title="hidden character">%s</span>')
    return Markup("").join(badge % part if hidden else escape(part) for hidden, part in hidden_split(text))


def _cut(text: Any) -> str:
    whole = "" if text is None else str(text)
    left = len(whole) - MOST_CHARACTERS
    return whole if left <= 0 else f"{whole[:MOST_CHARACTERS]} … ({left:,} characters more)"


def _commands(data: Mapping[str, Any]) -> str:
    """The shell lines that train and measure again, run in the data folder; "" where there was no training here."""
    lineage: Lineage | dict[str, Any] = data["lineage"]
    training, holdout = data["training"], data["holdout"]
    snapshot = lineage.get("snapshot_uri")
    if not (training and holdout and snapshot and lineage.get("base")):
        return ""
    base = shlex.quote(str(place(training.get("base") or lineage["base"])))
    seed = training.get("seed")
    train = ["python -m training.run", f"--snapshot {shlex.quote(place(snapshot))}", f"--base {base}"]
    train += [f"--preset {shlex.quote(str(training['preset']))}"]
    train += [f"--seed {int(seed)}"] if plots.finite(seed) is not None else []
    train += ["--replay REPLAY.jsonl"] if training.get("replay") else []
    suite = lineage.get("holdout_uri") or f"artifacts/snapshots/{holdout['snapshot_id']}"
    score = ["python -m training.evaluate", f"--base {base}", "--version again=again/adapter"]
    scorer = f":{holdout['scorer']}" if holdout.get("scorer") else ""
    score += [f"--suite {shlex.quote(f'holdout={place(suite)}{scorer}')}"]
    score += ["--schema SCHEMA.json"] if holdout.get("schema_checked") else []
    return "\n".join(
        " \\\n    ".join([*lines, out]) for lines, out in ((train, "--out again"), (score, "--out again.eval"))
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "report_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, points, number, p_value, duration, measure, change, amount, moment, place, captured, difference)
    environment.filters.update({made.__name__: made for made in filters})
    drawings = (plots.share_bar, plots.gain_plot, plots.guard_plot, plots.loss_curve)
    environment.globals.update({made.__name__: made for made in drawings})
    environment.globals["has_figure"] = lambda value: plots.finite(value) is not None
    environment.globals["has_interval"] = lambda value: plots.finite_pair(value) is not None
    return environment
