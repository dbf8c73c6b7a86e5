"""The report's drawings: inline SVG out of numbers alone. Pure.

Places are per cent of the width, so a drawing fits a phone without shrinking its letters; colours are the page's, by
class. Which side is which is told by pattern and shape as well as by hue. What is not a finite number is not drawn:
the caller prints "no figure" beside an empty drawing, never a bar of length 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

LARGEST = 1e9  # beyond it an axis would run out of digits


@dataclass(frozen=True, slots=True)
class Axis:
    low: float
    high: float

    def at(self, value: float) -> str:
        """Where the value stands, in per cent of the width."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"


def finite(value: Any) -> float | None:
    """The number, or None for what is none: None, NaN, infinity, text, or larger than anything a report measures."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    return float(value)


def finite_pair(values: Any) -> tuple[float, float] | None:
    if not isinstance(values, list | tuple) or len(values) != 2:
        return None
    low, high = finite(values[0]), finite(values[1])
    return None if low is None or high is None else (low, high)


def axis_over(values: Sequence[float | None]) -> Axis:
    """An axis that holds all values with some air, never of width 0."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    air = (high - low) * 0.12 or 0.01
    return Axis(low - air, high + air)


def share_bar(value: Any, interval: Any, side: str, label: str) -> Markup:
    """A bar from 0 to 100 %, its interval as a whisker. side: "champion" or "candidate"."""
    share, bounds = finite(value), finite_pair(interval)
    axis = Axis(0, 1)
    drawn = ['<rect class="track" x="0" y="3" width="100%" height="14" rx="3"/>']
    if share is not None:
        drawn.append(f'<rect class="{side}" x="0" y="3" width="{axis.at(min(max(share, 0), 1))}" height="14" rx="3"/>')
    if bounds is not None:
        drawn.append(_whisker(axis, *bounds, y=10, cap=6))
    return _svg(drawn, height=20, label=label, kind="bar")


def gain_plot(gain: Any, interval: Any, floor: Any, label: str) -> Markup:
    """The gain and its interval against no gain (0) and the least gain the gate asks for."""
    value, bounds, least = finite(gain), finite_pair(interval), finite(floor)
    if value is None:
        return Markup("")
    axis = axis_over([0.0, value, least, *(bounds or ())])
    anchors = _anchors(axis, 0.0, least)
    drawn = [_line(axis, 0, "zero", 18, 62), _text(axis, 0, 78, "no gain", anchors[0])]
    if least is not None:
        drawn += [_line(axis, least, "limit", 18, 62)]
        drawn += [_text(axis, least, 12, f"floor {_points(least)}", anchors[1])]
    if bounds is not None:
        drawn.append(_whisker(axis, *bounds, y=40, cap=9))
    drawn.append(_dot(axis, value, 40, 7))
    return _svg(drawn, height=84, label=label, kind="gain")


def guard_plot(difference: Any, bound: Any, margin: Any, label: str, *, higher_is_worse: bool = False) -> Markup:
    """The change, its one-sided bound, and the shaded side that the margin forbids."""
    value, limit, allowed = finite(difference), finite(bound), finite(margin)
    if value is None or allowed is None:
        return Markup("")
    edge = allowed if higher_is_worse else -allowed
    # A margin of room on the good side too, so that the forbidden side does not fill the drawing.
    axis = axis_over([0.0, value, limit, 1.6 * edge, -edge])
    shade = (axis.at(edge), f"{100 - float(axis.at(edge)[:-1]):.2f}%") if higher_is_worse else ("0", axis.at(edge))
    drawn = [f'<rect class="forbidden" x="{shade[0]}" y="0" width="{shade[1]}" height="34"/>']
    drawn += [_line(axis, 0, "zero", 0, 34), _line(axis, edge, "limit", 0, 34)]
    if limit is not None:
        drawn.append(_whisker(axis, min(limit, value), max(limit, value), y=17, cap=6))
    drawn.append(_dot(axis, value, 17, 6))
    return _svg(drawn, height=34, label=label, kind="limits")


def loss_curve(losses: Any, dev_losses: Any, label: str) -> Markup:
    """Loss over steps; the dev curve dashed. Points that are no numbers are left out."""
    curves = [("loss", _curve(losses)), ("dev", _curve(dev_losses))]
    points = [point for _, curve in curves for point in curve]
    if len(curves[0][1]) < 2:
        return Markup("")
    steps = Axis(min(step for step, _ in points), max(step for step, _ in points))
    if steps.low == steps.high:
        return Markup("")
    top = max(loss for _, loss in points) * 1.05 or 1.0
    drawn = []
    for part in (0.0, 0.5, 1.0):
        y = 8 + 150 * (1 - part)
        drawn.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="tick" x="2" y="{y - 3:.1f}">{top * part:.3g}</text>')
    drawn.append('<svg x="0" y="8" width="100%" height="150" viewBox="0 0 1000 150" preserveAspectRatio="none">')
    for name, curve in curves:
        if len(curve) > 1:
            places = " ".join(_place(steps, step, 150 * (1 - loss / top)) for step, loss in curve)
            drawn.append(f'<polyline class="{name}" points="{places}"/>')
    drawn.append("</svg>")
    drawn.append(f'<text class="tick" x="0" y="174">step {steps.low:g}</text>')
    drawn.append(f'<text class="tick" x="100%" y="174" text-anchor="end">step {steps.high:g}</text>')
    return _svg(drawn, height=178, label=label, kind="curve")


def _place(steps: Axis, step: float, y: float) -> str:
    return f"{1000 * (step - steps.low) / (steps.high - steps.low):.1f},{y:.1f}"


def _curve(pairs: Any) -> list[tuple[float, float]]:
    found = (finite_pair(pair) for pair in pairs) if isinstance(pairs, list | tuple) else ()
    return [pair for pair in found if pair is not None]


def _svg(drawn: list[str], *, height: int, label: str, kind: str) -> Markup:
    # Numbers and our own class names; the label alone comes from outside.
    frame = f'<svg class="plot {kind}" role="img" aria-label="{escape(label)}" width="100%" height="{height}">'
    return Markup(frame + "".join(drawn) + "</svg>")


def _line(axis: Axis, value: float, name: str, top: int, bottom: int) -> str:
    return f'<line class="{name}" x1="{axis.at(value)}" x2="{axis.at(value)}" y1="{top}" y2="{bottom}"/>'


def _whisker(axis: Axis, low: float, high: float, *, y: int, cap: int) -> str:
    ends = "".join(_line(axis, end, "whisker", y - cap, y + cap) for end in (low, high))
    return f'<line class="whisker" x1="{axis.at(low)}" x2="{axis.at(high)}" y1="{y}" y2="{y}"/>{ends}'


def _dot(axis: Axis, value: float, y: int, radius: int) -> str:
    return f'<circle class="dot" cx="{axis.at(value)}" cy="{y}" r="{radius}"/>'


def _anchors(axis: Axis, *values: float | None) -> list[str]:
    """How words stand at each value: centred, never over the edge; neighbours alike, or they would look swapped."""
    shares = [50.0 if value is None else float(axis.at(value)[:-1]) for value in values]
    anchors = ["start" if share < 12 else "end" if share > 88 else "middle" for share in shares]
    if max(shares) - min(shares) < 40:
        anchors = [next((a for a in anchors if a != "middle"), "middle")] * len(anchors)
    return anchors


def _text(axis: Axis, value: float, y: int, words: str, anchor: str) -> str:
    return f'<text class="tick" x="{axis.at(value)}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _points(share: float) -> str:
    return f"{share * 100:+.3g} points".replace("-", "−")
