"""Where a candidate got worse: items that were right and are not, their slices, and the words they share. Pure.

At risk is what the champion got right; only that can break. The unit is the prompt group, as in the gate: one broken
item breaks its group. A slice, or a run of one to three words of the prompts, is told when it stands in broken groups
more often than in the groups that held: Fisher's exact test, one-sided, and Benjamini-Hochberg over all that were
tested. Words are only a trail: they say where to look, not why.

An item broke when its score fell by FELL or more: right or wrong, from right to wrong.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.promotion.measurement import Item

FALSE_DISCOVERIES = 0.05  # expected share of the words told that stand there by chance
FELL = 0.2
MOST_GROUPS = 2_000  # of either kind whose words are read, evenly spaced by name; a pattern shows in as many
MOST_WORDS = 12  # told
_LONGEST = 3
_WORDS_READ = 400  # of one prompt
_WORD = re.compile(r"\w+(?:[-'.]\w+)*")


@dataclass(frozen=True, slots=True)
class Shared:
    """A run of words, and how often it stands in groups that broke and in groups that held."""

    words: str
    broken: int
    held: int
    odds: float  # ratio, half a group added to each count
    p_value: float  # Fisher's exact, one-sided
    q_value: float  # after Benjamini and Hochberg


@dataclass(frozen=True, slots=True)
class BrokenSlice:
    slice: str
    right_before: int  # groups
    broken: int
    items: tuple[str, ...]
    q_value: float  # that no larger share broke here than elsewhere


@dataclass(frozen=True, slots=True)
class Broke:
    items: tuple[str, ...]  # ids, sorted
    groups: int  # that broke
    right_before: int  # groups that could
    slices: tuple[BrokenSlice, ...]  # with broken items, the most first
    words: tuple[Shared, ...]  # the surest first
    tested: int  # runs of words
    prompts: bool  # whether the items say what was asked; else there are no words


def where_it_broke(champion: Sequence[Item], candidate: Sequence[Item]) -> Broke:
    """The sides hold the same items."""
    after = {item.item: item.value for item in candidate}
    risk: dict[str, list[Item]] = {}
    lost, bad, said = set(), set(), False
    for item in champion:
        value = item.value
        if value < FELL:
            continue
        risk.setdefault(item.group, []).append(item)
        said = said or bool(item.prompt)
        if value - after[item.item] >= FELL - 1e-9:
            lost.add(item.item)
            bad.add(item.group)
    words, tested = _words(risk, bad) if bad and said else ((), 0)
    return Broke(tuple(sorted(lost)), len(bad), len(risk), _slices(risk, lost, len(bad)), words, tested, said)


def fisher_p(here: int, of: int, everywhere: int, total: int) -> float:
    """One-sided: so many or more of `of` groups carry what `everywhere` of `total` carry, were they drawn blindly."""
    first, last = max(here, of + everywhere - total), min(of, everywhere)
    if here <= max(0, of + everywhere - total):
        return 1.0
    whole = _choices(total, of)
    return min(
        1.0,
        math.fsum(
            math.exp(_choices(everywhere, k) + _choices(total - everywhere, of - k) - whole)
            for k in range(first, last + 1)
        ),
    )


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The q-value of each: the least false discovery rate at which it is told."""
    found = [0.0] * len(p_values)
    least = 1.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    for rank, place in zip(range(len(p_values), 0, -1), order, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        found[place] = least
    return found


def _slices(risk: Mapping[str, list[Item]], lost: set[str], all_bad: int) -> tuple[BrokenSlice, ...]:
    by_slice: dict[str, dict[str, list[Item]]] = {}
    for group, items in risk.items():
        for item in items:
            if item.slice is not None:
                by_slice.setdefault(item.slice, {}).setdefault(group, []).append(item)
    names = sorted(by_slice)
    bad = [{g for g, items in by_slice[n].items() if any(i.item in lost for i in items)} for n in names]
    p_values = [fisher_p(len(b), len(by_slice[n]), all_bad, len(risk)) for n, b in zip(names, bad, strict=True)]
    found = [
        BrokenSlice(
            slice=name,
            right_before=len(by_slice[name]),
            broken=len(groups),
            items=tuple(sorted(i.item for items in by_slice[name].values() for i in items if i.item in lost)),
            q_value=q,
        )
        for name, groups, q in zip(names, bad, benjamini_hochberg(p_values), strict=True)
        if groups
    ]
    return tuple(sorted(found, key=lambda s: (-s.broken, s.slice)))


def _words(risk: Mapping[str, list[Item]], bad: set[str]) -> tuple[tuple[Shared, ...], int]:
    broken = [_grams(risk[g]) for g in _spread(sorted(bad))]
    held = [_grams(risk[g]) for g in _spread(sorted(risk.keys() - bad))]
    in_broken, in_held = _counts(broken), _counts(held)
    total = len(broken) + len(held)
    # By how often both kinds hold it together, which says nothing about which of the two: so the tests stay honest.
    told = sorted(g for g in in_broken.keys() | in_held.keys() if 2 <= in_broken.get(g, 0) + in_held.get(g, 0) < total)
    seen: dict[tuple[int, int], float] = {}
    p_values = []
    for gram in told:
        counts = in_broken.get(gram, 0), in_held.get(gram, 0)
        if counts not in seen:
            seen[counts] = fisher_p(counts[0], len(broken), sum(counts), total)
        p_values.append(seen[counts])
    found = [
        Shared(gram, b, h, (b + 0.5) * (len(held) - h + 0.5) / ((h + 0.5) * (len(broken) - b + 0.5)), p, q)
        for gram, p, q in zip(told, p_values, benjamini_hochberg(p_values), strict=True)
        if q <= FALSE_DISCOVERIES
        for b, h in [(in_broken.get(gram, 0), in_held.get(gram, 0))]
    ]
    return _plainest(found), len(told)


def _plainest(found: Iterable[Shared]) -> tuple[Shared, ...]:
    """The surest first, the longest among equals; no part of a run that was taken, and none that holds it."""
    taken: list[Shared] = []
    for one in sorted(found, key=lambda s: (s.p_value, -len(s.words.split()), s.words)):
        if len(taken) == MOST_WORDS:
            break
        if not any(f" {a} " in f" {b} " for other in taken for a, b in _both(one.words, other.words)):
            taken.append(one)
    return tuple(taken)


def _both(one: str, other: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (one, other), (other, one)


def _grams(items: Iterable[Item]) -> set[str]:
    found: set[str] = set()
    for item in items:
        words = _WORD.findall((item.prompt or "").casefold())[:_WORDS_READ]
        for size in range(1, _LONGEST + 1):
            found.update(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))
    return found


def _counts(groups: Iterable[set[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for grams in groups:
        for gram in grams:
            counts[gram] = counts.get(gram, 0) + 1
    return counts


def _spread(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) <= MOST_GROUPS else [names[i * len(names) // MOST_GROUPS] for i in range(MOST_GROUPS)]


def _choices(n: int, k: int) -> float:
    """The logarithm of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
