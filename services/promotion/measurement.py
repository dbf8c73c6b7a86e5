"""What an evaluation found for each of two versions, and whether the two may be compared at all. Pure.

The unit is the prompt group: items that mean the same count once, so a prompt that was copied ten times has one vote.
An item that ended in an error, or whose answer was cut off before its end, is wrong for its side.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_ERROR_SHARE = 0.02  # beyond it the figures describe the machine, not the model


class Item(NamedTuple):
    """One answered item of a suite."""

    item: str
    group: str
    score: float | None  # 0-1; None or NaN: it could not be scored
    exact: bool
    schema_valid: bool | None = None  # None: no answer schema
    error: str | None = None
    cut_off: bool = False  # the answer reached the evaluation's limit without ending
    slice: str | None = None  # a kind of item
    length: float | None = None  # of the answer, in one unit for all
    expected_length: float | None = None  # of the expected answer, in the same unit
    seconds: float | None = None  # that the answer took
    prompt: str | None = None

    @property
    def value(self) -> float:
        return 0.0 if self.error is not None or self.cut_off or self.score is None else self.score


@dataclass(frozen=True, slots=True)
class Side:
    """One version on all suites; `general` is empty where the base model has no general suite."""

    version: str
    harness_sha256: str
    holdout: tuple[Item, ...]
    general: tuple[Item, ...] = ()


class GroupPair(NamedTuple):
    """One prompt group: the mean score of its items on each side, and whether all of them were exact."""

    group: str
    champion: float
    candidate: float
    champion_right: bool
    candidate_right: bool

    @property
    def difference(self) -> float:
        return self.candidate - self.champion


def objections(champion: Side, candidate: Side) -> list[str]:
    """Why these two measurements cannot be compared, in words; empty when they can."""
    found = []
    if not champion.harness_sha256 or champion.harness_sha256 != candidate.harness_sha256:
        found.append("the two versions were not scored by the same harness; evaluate both again")
    if not champion.holdout and not candidate.holdout:
        found.append("the evaluation holds no item of the holdout")
    found += _suite_objections("holdout", champion.holdout, candidate.holdout)
    found += _suite_objections("general", champion.general, candidate.general)
    return found


def cut_off(champion: Side, candidate: Side) -> list[str]:
    """How many answers never ended, in one sentence; nothing when all did."""
    sides = (("champion", champion), ("candidate", candidate))
    found = [
        f"{count} of {len(items)} {suite} answers of the {name}"
        for name, side in sides
        for suite, items in (("holdout", side.holdout), ("general", side.general))
        if (count := sum(item.cut_off for item in items))
    ]
    return [f"cut off at the evaluation's length limit and so counted as wrong: {'; '.join(found)}"] if found else []


def pairs(champion: Sequence[Item], candidate: Sequence[Item]) -> list[GroupPair]:
    """One pair a group, in the order of names; the sides hold the same items (see `objections`)."""
    first, second = _by_group(champion), _by_group(candidate)
    found = []
    for group in sorted(first):
        before, after = first[group], second[group]
        found.append(GroupPair(group, _mean(before), _mean(after), _all_right(before), _all_right(after)))
    return found


def is_binary(pairs: Iterable[GroupPair]) -> bool:
    return all(value in (0.0, 1.0) for pair in pairs for value in (pair.champion, pair.candidate))


def exact_share(items: Sequence[Item]) -> float | None:
    return sum(map(_right, items)) / len(items) if items else None


def valid_share(items: Sequence[Item]) -> float | None:
    """Share of answers that fit the schema; None when no item says."""
    if all(item.schema_valid is None for item in items):
        return None
    return sum(bool(item.schema_valid) for item in items) / len(items)


def _all_right(items: Sequence[Item]) -> bool:
    return _right(items[0]) if len(items) == 1 else all(map(_right, items))


def _right(item: Item) -> bool:
    return item.exact and item.error is None and not item.cut_off


def _by_group(items: Iterable[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    return groups


def _mean(items: Sequence[Item]) -> float:
    if len(items) == 1:  # most groups; a hundred thousand of them are judged in a second
        return items[0].value
    return math.fsum(item.value for item in items) / len(items)


def _suite_objections(suite: str, champion: Sequence[Item], candidate: Sequence[Item]) -> list[str]:
    found = []
    for side, items in (("champion", champion), ("candidate", candidate)):
        found += _side_objections(suite, side, items)
    first, second = ({i.item: i.group for i in items} for items in (champion, candidate))
    if alone := sorted(first.keys() ^ second.keys()):
        found.append(f"{suite}: {len(alone)} item(s) were answered by one side only, such as {alone[0]!r}")
    if moved := sorted(i for i in first.keys() & second.keys() if first[i] != second[i]):
        found.append(f"{suite}: {len(moved)} item(s) stand in another group on each side, such as {moved[0]!r}")
    return found


def _side_objections(suite: str, side: str, items: Sequence[Item]) -> list[str]:
    found = []
    if twice := [name for name, count in Counter(i.item for i in items).items() if count > 1]:
        found.append(f"{suite}: {len(twice)} item(s) of the {side} are listed twice, such as {twice[0]!r}")
    bad = [i for i in items if i.error is None and not _is_share(i.score)]
    if bad:
        found.append(
            f"{suite}: {len(bad)} score(s) of the {side} are no number from 0 to 1, such as {bad[0].score} "
            f"for {bad[0].item!r}"
        )
    errors = [i for i in items if i.error is not None]
    if items and len(errors) / len(items) > MAX_ERROR_SHARE:
        found.append(
            f"{suite}: {len(errors)} of {len(items)} items of the {side} ended in an error, more than "
            f"{MAX_ERROR_SHARE:.0%}; the first: {str(errors[0].error)[:200]}"
        )
    return found


def _is_share(score: float | None) -> bool:
    return score is not None and math.isfinite(score) and 0 <= score <= 1
