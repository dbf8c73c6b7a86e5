"""What a better candidate must not have made worse: general ability, schema validity, an untouched holdout. Pure.

Of slices: slice_guards.py; of length and time: answer_guards.py. Each guard has three answers: passed, failed, and
None: this suite is too small to tell. A guard that cannot tell never calls a candidate bad, and where it blocks, never
lets it through either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from services.promotion.contamination import Overlap
from services.promotion.measurement import GroupPair, Item, is_binary, pairs, valid_share
from services.promotion.statistics import bootstrap_interval, tango_lower_bound

CONFIDENCE = 0.95  # one-sided
SCHEMA_MARGIN = 0.01
GUARD_DRAWS = 2_000  # there may be many slices, and a bound of 5 % needs fewer than an interval
LEAKAGE = "holdout unseen in training"
_ROUNDING = 1e-9  # a drop of exactly the margin is not beyond it


@dataclass(frozen=True, slots=True)
class Guard:
    name: str
    champion: float | None
    candidate: float | None
    margin: float | None  # how much worse is allowed; None for yes or no
    difference: float | None  # candidate minus champion
    bound: float | None  # one-sided confidence bound of the difference, on its bad side
    passed: bool | None  # None: cannot be told
    why: str
    blocks: bool = True  # whether a candidate has to wait where it cannot be told
    unit: Literal["share", "seconds", "characters", "count"] = "share"
    worse_is: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True, slots=True)
class Leakage:
    """What of the holdout stood in the snapshots that the candidate and its ancestry were trained on."""

    groups: frozenset[str] = frozenset()
    examples: frozenset[str] = frozenset()
    overlaps: tuple[Overlap, ...] = ()  # items whose text stood there, under whatever id
    searched: int = 0  # training examples
    versions: tuple[str, ...] = ()  # whose snapshots were searched, the candidate first
    unsearched: tuple[str, ...] = ()  # ancestors whose snapshot cannot be read any more


def guard_general(champion: Sequence[Item], candidate: Sequence[Item], margin: float) -> Guard:
    """Forgetting: failed when the observed fall is beyond the margin; passed when the bound of the fall is within it.

    Item by item: a general suite is written item by item, its groups name kinds of task. Right or wrong items: Tango's
    score bound; graded ones: the bootstrap's.
    """
    paired = pairs(_alone(champion), _alone(candidate))
    n = len(paired)
    difference = math.fsum(p.difference for p in paired) / n
    before, after = (math.fsum(values) / n for values in zip(*((p.champion, p.candidate) for p in paired), strict=True))
    bound = lower_bound(paired)
    passed, why = _judge_general(before, after, difference, bound, margin, n)
    if passed is None:
        spread = math.fsum(p.difference**2 for p in paired) / n
        why += f"; about {_items_that_tell(spread, difference, margin, n)} items would"
    return Guard("general ability", before, after, margin, difference, bound, passed, why)


def guard_schema(champion: Sequence[Item], candidate: Sequence[Item]) -> Guard | None:
    """Schema validity by the observed shares: a holdout of usual size could not prove a margin of one point.

    None when neither side says anything about a schema.
    """
    before, after = valid_share(champion), valid_share(candidate)
    if before is None or after is None:
        return None
    difference = after - before
    passed = difference >= -SCHEMA_MARGIN - _ROUNDING
    move = "went" if passed else "fell"
    why = (
        f"schema validity {move} from {before:.1%} to {after:.1%} of {len(champion)} answers, "
        f"the margin is {points(SCHEMA_MARGIN)}"
    )
    gained, lost = _moves(champion, candidate)
    bound = tango_lower_bound(gained, lost, len(champion), CONFIDENCE)
    return Guard("schema validity", before, after, SCHEMA_MARGIN, difference, bound, passed, why)


def guard_leakage(leakage: Leakage) -> Guard:
    groups, examples, overlaps = len(leakage.groups), len(leakage.examples), len(leakage.overlaps)
    found = float(max(groups, examples, overlaps))
    why = "nothing of the holdout stood in the training snapshot"
    if leakage.searched:
        why += f", searched by id and by text: {leakage.searched} examples of {len(leakage.versions)} version(s)"
    if found:
        why = f"leak: {groups} holdout group(s) and {examples} holdout example(s) stood in the training snapshot"
        why += f"{_told(leakage.overlaps)}; such as {_named(leakage)}; discard them or put them into one group"
    if leakage.unsearched:
        why += f"; not searched, as the snapshot cannot be read: {', '.join(leakage.unsearched)}"
    return Guard(LEAKAGE, None, found, None, None, None, not found, why, unit="count")


def _told(overlaps: Sequence[Overlap]) -> str:
    """Each kind that was found, with its count."""
    kinds = {
        "identical": "the same words",
        "13-gram": "13 words and more in a row in common",
        "near-duplicate": "nearly the same words",
    }
    counts = [(said, sum(o.kind == kind for o in overlaps)) for kind, said in kinds.items()]
    return "".join(f", {count} item(s) have {said} as a training example" for said, count in counts if count)


def _named(leakage: Leakage) -> str:
    if leakage.examples or leakage.groups:
        return repr(sorted(leakage.examples or leakage.groups)[0])
    first = leakage.overlaps[0]
    return f"{first.item!r}, which is like the example {first.example!r}"


def lower_bound(paired: Sequence[GroupPair]) -> float:
    """Of the change, with one-sided confidence: Tango's where all are right or wrong, else the bootstrap's."""
    if is_binary(paired):
        gained, lost = (sum(p.difference == sign for p in paired) for sign in (1, -1))
        return tango_lower_bound(gained, lost, len(paired), CONFIDENCE)
    differences = [p.difference for p in paired]
    return bootstrap_interval(differences, confidence=2 * CONFIDENCE - 1, draws=GUARD_DRAWS)[0]


def _judge_general(
    before: float, after: float, difference: float, bound: float, margin: float, n: int
) -> tuple[bool | None, str]:
    figures = f"from {before:.1%} to {after:.1%} of {n} items, the margin is {points(margin)}"
    if difference < -margin - _ROUNDING:
        return False, f"forgot: general ability fell {figures}"
    limit = f"with {CONFIDENCE:.0%} confidence the change is better than {bound * 100:+.1f} points"
    if bound > -margin:
        return True, f"general ability went {figures}; {limit}"
    return None, f"general ability went {figures}, but the suite is too small to tell: {limit}, which is not enough"


def _items_that_tell(spread: float, difference: float, margin: float, n: int) -> int:
    """How many items would put the bound inside the margin, should the same rates hold; by the normal approximation."""
    z = NormalDist().inv_cdf(CONFIDENCE)
    room = max(margin + difference, margin / 10)
    return max(n + 1, math.ceil(z * z * max(spread, 1 / n) / room**2 / 50) * 50)


def _alone(items: Sequence[Item]) -> list[Item]:
    return [item._replace(group=item.item) for item in items]


def _moves(champion: Sequence[Item], candidate: Sequence[Item]) -> tuple[int, int]:
    """Items only the candidate, and items only the champion, answered within the schema."""
    before = {i.item: bool(i.schema_valid) for i in champion}
    after = {i.item: bool(i.schema_valid) for i in candidate}
    return sum(after[i] and not before[i] for i in before), sum(before[i] and not after[i] for i in before)


def points(share: float) -> str:
    return f"{share * 100:g} point{'' if share == 0.01 else 's'}"
