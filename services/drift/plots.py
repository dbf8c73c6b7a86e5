"""The drift report's drawings: inline SVG out of numbers and escaped names. Pure.

Places are per cent of the width, so a drawing fits a phone without shrinking its letters. Before is a hatched area, now
a line or a full bar: told apart by shape as well as by hue.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from services.drift.comparison import Standing, Window
from services.drift.signals import SIGNALS, Kind
from services.drift.text_classifier import LEAST_AREA

_BARS, _HEIGHT, _ROW = 24, 96, 22
_MOST_CATEGORIES = 6


def plot_of(standing: Standing, reference: Window, last: Window) -> Markup:
    """Before and now of one signal; empty where a side has nothing to draw."""
    signal = SIGNALS[standing.signal]
    before, now = (side.values.get(signal.name, ()) for side in (reference, last))
    if not before or not now:
        return Markup("")
    if signal.kind is Kind.NUMBER:
        return histogram([float(v) for v in before], [float(v) for v in now], f"{signal.title} before and now")
    if signal.kind is Kind.TEXT:
        area = standing.last.figures.get("area")
        return Markup("") if area is None else area_bar(area)
    counts = [Counter(_named(value, signal.kind) for value in side) for side in (before, now)]
    names = [name for name, _ in (counts[0] + counts[1]).most_common(_MOST_CATEGORIES)]
    if signal.kind is Kind.RATE:
        names = ["yes"]
    shares = [(name, counts[0][name] / len(before), counts[1][name] / len(now)) for name in names]
    return share_bars(shares, f"{signal.title} before and now")


def histogram(before: Sequence[float], now: Sequence[float], label: str) -> Markup:
    """Shares over one axis; what lies outside the middle 99 % of both stands in the outermost bars."""
    low, high = (float(edge) for edge in np.quantile(np.concatenate([before, now]), [0.005, 0.995]))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    heights = []
    for side in (before, now):
        counts, _ = np.histogram(np.clip(side, low, high), bins=_BARS, range=(low, high))
        heights.append(counts / len(side))
    top = max(float(np.max(side)) for side in heights)
    wide = 1000 / _BARS
    tall = [[_HEIGHT * (1 - float(share) / top) for share in side] for side in heights]
    steps = " ".join(f"{wide * i:.1f},{y:.1f} {wide * (i + 1):.1f},{y:.1f}" for i, y in enumerate(tall[1]))
    ground = " ".join(f"{wide * i:.1f},{y:.1f} {wide * (i + 1):.1f},{y:.1f}" for i, y in enumerate(tall[0]))
    drawn = [
        f'<svg x="0" y="4" width="100%" height="{_HEIGHT}" viewBox="0 0 1000 {_HEIGHT}" preserveAspectRatio="none">',
        f'<polygon class="before" points="0,{_HEIGHT} {ground} 1000,{_HEIGHT}"/>',
        f'<polyline class="now-line" points="{steps}"/></svg>',
        f'<text class="tick" x="0" y="{_HEIGHT + 18}">{low:.4g}</text>',
        f'<text class="tick" x="100%" y="{_HEIGHT + 18}" text-anchor="end">{high:.4g}</text>',
    ]
    return _svg(drawn, _HEIGHT + 22, label)


def share_bars(shares: Sequence[tuple[str, float, float]], label: str) -> Markup:
    """Two bars a name on one scale, up to the largest share; each with its figure."""
    top = max([*(max(before, now) for _, before, now in shares), 0.01])
    drawn = []
    for place, (name, *sides) in enumerate(shares):
        y = place * (2 * _ROW + 18)
        drawn.append(f'<text class="tick" x="0" y="{y + 12}">{escape(name[:40])}</text>')
        for row, (kind, share) in enumerate(zip(("before", "now"), sides, strict=True)):
            at = y + 16 + row * _ROW
            drawn.append(f'<rect class="{kind}" x="0" y="{at}" width="{78 * share / top:.2f}%" height="{_ROW - 5}"/>')
            drawn.append(f'<text class="tick" x="80%" y="{at + 13}">{kind} {share:.1%}</text>')
    return _svg(drawn, len(shares) * (2 * _ROW + 18) + 4, label)


def area_bar(area: float) -> Markup:
    """The classifier's area between chance and certainty, and the limit."""
    shown = min(max((area - 0.5) / 0.5, 0.0), 1.0)
    limit = 100 * (LEAST_AREA - 0.5) / 0.5
    drawn = [
        '<rect class="track" x="0" y="4" width="100%" height="16"/>',
        f'<rect class="now" x="0" y="4" width="{100 * shown:.2f}%" height="16"/>',
        f'<line class="limit" x1="{limit:.2f}%" x2="{limit:.2f}%" y1="0" y2="24"/>',
        '<text class="tick" x="0" y="38">0.5, chance</text>',
        f'<text class="tick" x="{limit:.2f}%" y="54">limit {LEAST_AREA:.2f}</text>',
        '<text class="tick" x="100%" y="38" text-anchor="end">1, always right</text>',
    ]
    return _svg(drawn, 58, f"Area under the classifier's curve: {area:.2f}")


def _named(value: float | bool | str, kind: Kind) -> str:
    return ("yes" if value else "no") if kind is Kind.RATE else str(value)


def _svg(drawn: Sequence[str], height: int, label: str) -> Markup:
    frame = f'<svg class="plot" role="img" aria-label="{escape(label)}" width="100%" height="{height}">'
    return Markup(frame + "".join(drawn) + "</svg>")
