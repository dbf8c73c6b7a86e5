"""The shape of answers: their length and the time they take. Pure. By the observed figures, without a bound.

Length: the median may change by `change` of the champion's, up or down; further only towards the expected answers: a
base that chats where the experts write one line shall become shorter.
Time: the 95th percentile, only where both sides were timed. The evaluation of this project does not time them for the
gate: batches on a shared machine, one version after the other, say little about a server under load.
"""

from collections.abc import Sequence
from statistics import median
from typing import Literal

from services.promotion.guards import Guard
from services.promotion.measurement import Item

_ROUNDING = 1e-9


def guard_length(champion: Sequence[Item], candidate: Sequence[Item], change: float) -> Guard | None:
    """None where the answers of a side have no length."""
    before, after = (_middle([i.length for i in items if i.error is None]) for items in (champion, candidate))
    if before is None or after is None:
        return None
    expected = _middle([i.expected_length for i in champion])
    allowed, difference = change * before, after - before
    within = abs(difference) <= allowed + _ROUNDING
    nearer = expected is not None and abs(after - expected) <= abs(before - expected)
    why = f"the median answer's length went from {before:g} to {after:g}; {change:.0%} up or down is allowed"
    if not within and nearer:
        why += f", and more towards the expected answers, whose median is {expected:g}"
    elif expected is not None and not within:
        why += f"; the expected answers' median is {expected:g}"
    worse_is: Literal["higher", "lower"] = "higher" if difference > 0 else "lower"
    return Guard(
        "answer length",
        before,
        after,
        allowed,
        difference,
        None,
        within or nearer,
        why,
        unit="characters",
        worse_is=worse_is,
    )


def guard_latency(champion: Sequence[Item], candidate: Sequence[Item], ratio: float) -> Guard | None:
    """None where an answer was not timed."""
    before, after = (_p95([i.seconds for i in items if i.error is None]) for items in (champion, candidate))
    if before is None or after is None:
        return None
    passed = after <= ratio * before + _ROUNDING
    why = f"95 % of the answers took at most {before:.3g} s, now {after:.3g} s; {ratio:g} times as long is allowed"
    margin, difference = (ratio - 1) * before, after - before
    return Guard("latency", before, after, margin, difference, None, passed, why, unit="seconds", worse_is="higher")


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None


def _p95(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known or len(known) < len(values):
        return None
    return known[min(len(known) - 1, int(0.95 * len(known)))]
