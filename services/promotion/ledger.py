"""The ledger of alpha: how much chance a holdout may still be given. Pure.

Each decision on a holdout is one more chance for luck, so each spends `gate.alpha` of the holdout version's budget
(`gate.alpha_budget`, five times alpha unless said otherwise). By Bonferroni the chance that any equal candidate is
promoted on one version is then at most the budget, whatever the candidates have to do with each other, as long as
nothing of the holdout went into making them.

A version ends, and the next begins with a budget of its own, when groups arrived that no decision has seen: at least
`gate.holdout_growth` as many as the version's largest decision had. A group that left and came back was seen, so a
holdout that shrank brings nothing.
Numbers say what comes after what, never the time: a clock that went back changes nothing.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class HoldoutVersion:
    number: int  # 1, 2, ...
    size: int  # groups of its largest decision
    seen: frozenset[str] = field(repr=False)  # marks of every group that any decision had, of versions before too


@dataclass(frozen=True, slots=True)
class Account:
    """What a decision finds in the ledger. The holdout is the version as it is after this decision."""

    holdout: HoldoutVersion
    budget: float
    spent: float  # before this decision
    decisions: int  # before this one, on this version
    missing: int  # unseen groups that the next version still needs, should this decision not be made
    needed: int  # and should it be made
    made: bool = False  # this very decision was made before: it has been paid for

    def allows(self, alpha: float) -> bool:
        return self.made or alpha <= self.budget - self.spent + _ROUNDING


def marks(groups: Iterable[str]) -> frozenset[str]:
    """Short marks of groups: what the ledger keeps of them."""
    return frozenset(hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:12] for group in groups)


def holdout_version(last: HoldoutVersion | None, now: frozenset[str], growth: float) -> tuple[HoldoutVersion, int]:
    """The version of a decision on these groups, with them; how many unseen ones the next still needs without it."""
    if last is None:
        return HoldoutVersion(1, len(now), now), needed(len(now), growth)
    unseen, due = len(now - last.seen), needed(last.size, growth)
    if unseen < due:
        return HoldoutVersion(last.number, max(last.size, len(now)), last.seen | now), due - unseen
    return HoldoutVersion(last.number + 1, len(now), last.seen | now), needed(len(now), growth)


def needed(size: int, growth: float) -> int:
    """Unseen groups that bring the next version."""
    return max(1, math.ceil(growth * size - _ROUNDING))


def decisions_left(budget: float, spent: float, alpha: float) -> int:
    return math.floor((max(0.0, budget - spent) + _ROUNDING) / alpha)


def spent_out(account: Account) -> str:
    return (
        f"alpha budget spent: {account.decisions} decision(s) on version {account.holdout.number} of the holdout used "
        f"{account.spent:g} of {account.budget:g} (gate.alpha_budget); {account.missing} more new prompt group(s) in "
        "the holdout bring a new budget (gate.holdout_growth): correct more answers, or raise gate.holdout_share"
    )
