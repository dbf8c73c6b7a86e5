"""The gate: whether a candidate may serve. The decision alone, without any I/O; the same figures, the same verdict.

PROMOTE      every condition below holds.
REJECT       measured well, and it is not better, or a guard failed.
INCONCLUSIVE the figures cannot carry a verdict: holes in the data, too few groups, no alpha left, a guard that
             cannot tell.

Better means: mean gain over prompt groups >= floor and > 0, and a two-sided p-value < alpha: mid-p McNemar where every
group is right or wrong, else the cluster sign-flip permutation. Two-sided with the sign asked for, so an equal
candidate passes one look at most alpha/2 of the time. How many looks a holdout may have is for the ledger to say.
A decision `looked` when nothing but the figures stood between a lucky candidate and its promotion.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from services.promotion.answer_guards import guard_latency, guard_length
from services.promotion.guards import LEAKAGE, Guard, Leakage, guard_general, guard_leakage, guard_schema
from services.promotion.ledger import Account, spent_out
from services.promotion.measurement import GroupPair, Side, cut_off, is_binary, objections, pairs
from services.promotion.slice_guards import guard_must_pass, guard_slices
from services.promotion.statistics import (
    bootstrap_interval,
    mcnemar_mid_p,
    sign_flip_p,
    tango_interval,
    wilson_interval,
)
from services.promotion.where_it_broke import Broke, where_it_broke


class Outcome(StrEnum):
    PROMOTE = "PROMOTE"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Policy:
    """What this workload asks for."""

    alpha: float
    floor: float  # least observed gain, 0-1
    min_groups: int
    general_margin: float  # how much general ability may fall, 0-1
    general_required: bool  # the base model has a general suite
    schema_required: bool  # the workload has an answer schema
    slice_margin: float = 0.08  # how much one slice may fall, 0-1
    slice_min_groups: int = 100  # a smaller slice need not prove that it did not fall
    must_pass: tuple[str, ...] = ()  # slices in which every answer has to be right
    length_change: float = 0.3  # of the median answer's length, up or down
    latency_ratio: float = 1.2  # of the 95th percentile, where answers were timed


@dataclass(frozen=True, slots=True)
class Paired:
    """Groups by which side got all of their items exactly right."""

    both: int
    only_champion: int
    only_candidate: int
    neither: int


@dataclass(frozen=True, slots=True)
class Figures:
    items: int
    groups: int
    champion: float  # mean score over groups
    candidate: float
    champion_interval: tuple[float, float]
    candidate_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]  # 95 %: Tango's score interval where `binary`, else the cluster bootstrap's
    paired: Paired
    binary: bool  # every group is right or wrong, on both sides
    interval_method: str  # of `gain_interval`
    test: str
    p_value: float  # of `test`
    mcnemar_p: float  # of `paired`, whatever the test


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...]  # sentences, the deciding one first
    figures: Figures | None = None  # None: the two sides cannot be compared
    guards: tuple[Guard, ...] = ()
    looked: bool = False  # luck had a chance: this decision spends alpha
    leakage: Leakage | None = None  # None: there was nothing to search
    broke: Broke | None = None  # None: the two sides cannot be compared


def judge(
    champion: Side, candidate: Side, policy: Policy, leakage: Leakage | None, account: Account | None = None
) -> Verdict:
    """leakage: what a search found; None: there was no snapshot to search, so nothing is said about leaks.

    account: what the ledger says of this holdout; None: looks are not counted.
    """
    holes = objections(champion, candidate) + _missing(champion, candidate, policy)
    cut = cut_off(champion, candidate)
    if holes:
        return Verdict(Outcome.INCONCLUSIVE, (*holes, *cut), leakage=leakage)
    figures = measure(champion, candidate)
    guards = _guards(champion, candidate, policy, leakage)
    shut = _shut(figures, guards, policy, account)
    outcome, reasons = shut or _decide(figures, guards, policy)
    broke = where_it_broke(champion.holdout, candidate.holdout)
    return Verdict(outcome, (*reasons, *cut), figures, guards, looked=shut is None, leakage=leakage, broke=broke)


def passes(gain: float, p_value: float, alpha: float, floor: float) -> bool:
    """Whether a gain is shown and large enough, at one look: other candidates tried on this holdout do not count."""
    return gain > 0 and gain >= floor - 1e-9 and p_value < alpha


def measure(champion: Side, candidate: Side) -> Figures:
    """The figures of the holdout, for two sides that may be compared."""
    paired = pairs(champion.holdout, candidate.holdout)
    n = len(paired)
    differences = [p.difference for p in paired]
    table, binary = _table(paired), is_binary(paired)
    mcnemar_p = mcnemar_mid_p(table.only_champion, table.only_candidate)
    before, after = math.fsum(p.champion for p in paired), math.fsum(p.candidate for p in paired)
    return Figures(
        items=len(champion.holdout),
        groups=n,
        champion=before / n,
        candidate=after / n,
        champion_interval=wilson_interval(before, n),
        candidate_interval=wilson_interval(after, n),
        gain=math.fsum(differences) / n,
        gain_interval=_gain_interval(differences, binary),
        paired=table,
        binary=binary,
        interval_method="Tango's score interval" if binary else "cluster bootstrap",
        test="mid-p McNemar" if binary else "cluster sign-flip permutation",
        p_value=_binary_p(paired) if binary else sign_flip_p(differences),
        mcnemar_p=mcnemar_p,
    )


def _shut(
    figures: Figures, guards: tuple[Guard, ...], policy: Policy, account: Account | None
) -> tuple[Outcome, list[str]] | None:
    """Why no figure whatever could promote this candidate: a leak, too few groups, no alpha left; None: nothing."""
    failed = [g.why for g in guards if g.passed is False]
    leaked = [g.why for g in guards if g.name == LEAKAGE and g.passed is False]
    gain = _gain_sentence(figures, policy)
    if leaked:
        return Outcome.REJECT, [*leaked, *(why for why in failed if why not in leaked), gain]
    if figures.groups < policy.min_groups:
        few = (
            f"too few prompt groups in the holdout: {figures.groups}, the gate asks for {policy.min_groups} "
            "(gate.min_groups); correct more answers, or raise gate.holdout_share"
        )
        return Outcome.INCONCLUSIVE, [few, *failed, gain]
    if account is not None and not account.allows(policy.alpha):
        return Outcome.INCONCLUSIVE, [spent_out(account), *failed, gain]
    return None


def _decide(figures: Figures, guards: tuple[Guard, ...], policy: Policy) -> tuple[Outcome, list[str]]:
    """The first row of this table that applies; its sentences lead, the others' follow."""
    failed = [g.why for g in guards if g.passed is False]
    undecided = [g.why for g in guards if g.passed is None and g.blocks]
    told = [g.why for g in guards if g.passed is None and not g.blocks]
    passed = [g.why for g in guards if g.passed]
    better, gain = _is_better(figures, policy), _gain_sentence(figures, policy)
    if failed:
        return Outcome.REJECT, [*failed, gain]
    if not better:
        return Outcome.REJECT, [gain, *undecided, *told]
    if undecided:
        return Outcome.INCONCLUSIVE, [*undecided, gain]
    return Outcome.PROMOTE, [gain, *passed, *told]


def _guards(champion: Side, candidate: Side, policy: Policy, leakage: Leakage | None) -> tuple[Guard, ...]:
    guards = [] if leakage is None else [guard_leakage(leakage)]
    if champion.general:
        guards.insert(0, guard_general(champion.general, candidate.general, policy.general_margin))
    if policy.schema_required and (schema := guard_schema(champion.holdout, candidate.holdout)):
        guards.append(schema)
    sides = champion.holdout, candidate.holdout
    guards += guard_must_pass(candidate.holdout, policy.must_pass)
    guards += guard_slices(*sides, policy.slice_margin, policy.slice_min_groups)
    guards += [
        g for g in (guard_length(*sides, policy.length_change), guard_latency(*sides, policy.latency_ratio)) if g
    ]
    return tuple(guards)


def _missing(champion: Side, candidate: Side, policy: Policy) -> list[str]:
    found = []
    if policy.general_required and not (champion.general and candidate.general):
        found.append("the base model has a general suite, but the evaluation holds no item of it")
    items = (*champion.holdout, *candidate.holdout)
    if policy.schema_required and any(i.schema_valid is None and i.error is None for i in items):
        found.append("the workload has an answer schema, but the evaluation does not say which answers fit it")
    slices = {item.slice for item in candidate.holdout}
    return found + [
        f"gate.must_pass names the slice {name!r}, but the holdout holds no item of it"
        for name in policy.must_pass
        if name not in slices
    ]


def _is_better(figures: Figures, policy: Policy) -> bool:
    return passes(figures.gain, figures.p_value, policy.alpha, policy.floor)


def _gain_sentence(figures: Figures, policy: Policy) -> str:
    low, high = (bound * 100 for bound in figures.gain_interval)
    return (
        f"{'better' if _is_better(figures, policy) else 'not shown to be better'} on the holdout: "
        f"{figures.champion:.1%} -> {figures.candidate:.1%} over {figures.groups} prompt groups, "
        f"gain {figures.gain * 100:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}), "
        f"p = {figures.p_value:.2g} by {figures.test}; asked for: at least {policy.floor * 100:+.1f} points "
        f"and p < {policy.alpha:g}"
    )


def _table(paired: list[GroupPair]) -> Paired:
    return Paired(
        both=sum(p.champion_right and p.candidate_right for p in paired),
        only_champion=sum(p.champion_right and not p.candidate_right for p in paired),
        only_candidate=sum(p.candidate_right and not p.champion_right for p in paired),
        neither=sum(not p.champion_right and not p.candidate_right for p in paired),
    )


def _gain_interval(differences: list[float], binary: bool) -> tuple[float, float]:
    if not binary:
        return bootstrap_interval(differences)
    gained, lost = (sum(d == sign for d in differences) for sign in (1, -1))
    return tango_interval(gained, lost, len(differences))


def _binary_p(paired: list[GroupPair]) -> float:
    return mcnemar_mid_p(sum(p.difference < 0 for p in paired), sum(p.difference > 0 for p in paired))
