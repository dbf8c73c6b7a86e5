"""No slice may pay for the gain of the others: a slice is a kind of item, such as a language or a product. Pure.

A slice of at least `least` prompt groups must prove that it did not fall by the margin: with Tango's one-sided bound,
or the bootstrap's for graded scores. A smaller one cannot prove that, however good the candidate: Tango's bound of
"nothing changed" on 30 groups is -8.3 points. It therefore never holds up a verdict; it is told.
Of whatever size, a slice fails when it fell by more than the margin and chance does not explain that it got worse:
one-sided p below 5 % shared out among all slices, so that many slices are no many chances of a false alarm.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from services.promotion.guards import CONFIDENCE, Guard, lower_bound, points
from services.promotion.measurement import GroupPair, Item, is_binary, pairs
from services.promotion.statistics import mcnemar_mid_p, sign_flip_p

NAMED = 8  # small slices that a sentence names; the others are counted
_ROUNDING = 1e-9


def guard_slices(champion: Sequence[Item], candidate: Sequence[Item], margin: float, least: int) -> list[Guard]:
    """A guard for each slice that is large enough or failed, worst first, and one for all that are too small.

    Nothing where there is one slice alone: that is the holdout.
    """
    slices = _slices(champion, candidate)
    if len(slices) < 2:
        return []
    judged = [_guard(name, paired, margin, least, len(slices)) for name, paired in sorted(slices.items())]
    small = [g for g, n in judged if g.passed is not False and n < least]
    shown = sorted((g for g, n in judged if g.passed is False or n >= least), key=lambda g: g.difference or 0.0)
    return [*shown, *_too_small(small, least)]


def guard_must_pass(candidate: Iterable[Item], slices: Sequence[str]) -> list[Guard]:
    """A slice in which one wrong answer is too many, whatever the champion does there."""
    found = []
    for name in slices:
        items = [item for item in candidate if item.slice == name]
        wrong = [item.item for item in items if item.value < 1]
        why = f"slice {name!r}: all {len(items)} answers are right, as gate.must_pass asks"
        if wrong:
            why = f"slice {name!r}: {len(wrong)} of {len(items)} answers are wrong, such as {wrong[0]!r}"
            why += "; gate.must_pass asks for none"
        found.append(
            Guard(f"slice {name}: none wrong", None, float(len(wrong)), None, None, None, not wrong, why, unit="count")
        )
    return found


def chance_of_worse(paired: Sequence[GroupPair]) -> float:
    """One-sided p-value that so much fell by chance alone; 0.5 or more where nothing fell."""
    differences = [p.difference for p in paired]
    if math.fsum(differences) >= 0:
        return 1.0
    if not is_binary(paired):
        return sign_flip_p(differences) / 2
    return mcnemar_mid_p(*(sum(d == sign for d in differences) for sign in (1, -1))) / 2


def _slices(champion: Sequence[Item], candidate: Sequence[Item]) -> dict[str, list[GroupPair]]:
    """The pairs of each slice; a group that reaches into two slices has a part in each. The champion's word decides."""
    first: dict[str, list[Item]] = defaultdict(list)
    second: dict[str, list[Item]] = defaultdict(list)
    name_of = {item.item: item.slice for item in champion}
    if not any(name is not None for name in name_of.values()):
        return {}
    for items, by_slice in ((champion, first), (candidate, second)):
        for item in items:
            by_slice[name_of[item.item] or "(none)"].append(item)
    if len(first) < 2:
        return {}
    return {name: pairs(items, second[name]) for name, items in first.items()}


def _guard(name: str, paired: list[GroupPair], margin: float, least: int, slices: int) -> tuple[Guard, int]:
    n = len(paired)
    before, after = (math.fsum(values) / n for values in zip(*((p.champion, p.candidate) for p in paired), strict=True))
    difference, bound = after - before, lower_bound(paired)
    figures = (
        f"slice {name!r} went from {before:.1%} to {after:.1%} of {n} prompt groups, the margin is {points(margin)}"
    )
    limit = f"with {CONFIDENCE:.0%} confidence the change is better than {bound * 100:+.1f} points"
    passed: bool | None = None
    why = f"{figures}; {limit}, which is not enough"
    if difference < -margin - _ROUNDING and (chance := chance_of_worse(paired)) < (1 - CONFIDENCE) / slices:
        passed, why = False, f"{figures.replace('went', 'fell', 1)}; p = {chance:.2g} that it did not get worse"
    elif bound > -margin:
        passed, why = True, f"{figures}; {limit}"
    return Guard(f"slice {name}", before, after, margin, difference, bound, passed, why, blocks=n >= least), n


def _too_small(small: Sequence[Guard], least: int) -> list[Guard]:
    if not small:
        return []
    names = ", ".join(repr(g.name.removeprefix("slice ")) for g in small[:NAMED])
    others = f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
    why = (
        f"{len(small)} slice(s) with fewer than {least} prompt groups (gate.slice_min_groups) are too small to tell, "
        f"and none of them is shown to have fallen: {names}{others}"
    )
    return [Guard("small slices", None, float(len(small)), None, None, None, None, why, blocks=False, unit="count")]
