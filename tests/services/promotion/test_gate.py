from dataclasses import replace

import numpy as np
import pytest

from services.promotion.contamination import Overlap
from services.promotion.gate import Outcome, Policy, Verdict, judge
from services.promotion.guards import Leakage
from services.promotion.measurement import Item, Side

POLICY = Policy(0.01, 0.03, 50, 0.03, general_required=True, schema_required=False)
HARNESS = "h" * 64


def items(scores: list[float], prefix: str = "g") -> tuple[Item, ...]:
    return tuple(Item(f"{prefix}{n:04}", f"group-{n:04}", score, score == 1.0) for n, score in enumerate(scores))


def side(name: str, right: int, n: int = 100, general: tuple[int, int] = (990, 1000)) -> Side:
    """`right` of n holdout items are right, the first ones; and so many of the general suite."""
    return Side(
        f"triage@{name}",
        HARNESS,
        items([1.0] * right + [0.0] * (n - right)),
        items([1.0] * general[0] + [0.0] * (general[1] - general[0]), "general-"),
    )


CHAMPION = side("champion", 40)
BETTER = side("candidate", 80)


def verdict(
    champion: Side = CHAMPION, candidate: Side = BETTER, policy: Policy = POLICY, leakage: Leakage | None = None
) -> Verdict:
    return judge(champion, candidate, policy, leakage or Leakage())


def test_a_clearly_better_candidate_that_forgot_nothing_is_promoted() -> None:
    found = verdict()
    assert found.outcome == Outcome.PROMOTE
    assert found.figures is not None
    assert found.figures.test == "mid-p McNemar"
    assert found.figures.paired.only_candidate == 40
    assert found.figures.gain == pytest.approx(0.4)
    assert "better on the holdout: 40.0% -> 80.0% over 100 prompt groups" in found.reasons[0]


def test_a_difference_of_luck_is_rejected_with_its_figures() -> None:
    found = verdict(candidate=side("candidate", 44))
    assert found.outcome == Outcome.REJECT
    assert found.reasons[0].startswith("not shown to be better")
    assert "p = 0.062" in found.reasons[0]


def test_a_certain_gain_below_the_floor_is_rejected() -> None:
    found = verdict(side("a", 400, 1000), side("b", 420, 1000))
    assert found.figures is not None
    assert found.figures.p_value < 0.01
    assert found.outcome == Outcome.REJECT


def test_a_worse_candidate_is_rejected_however_certain() -> None:
    assert verdict(BETTER, CHAMPION).outcome == Outcome.REJECT


def test_a_floor_of_zero_still_asks_for_a_gain() -> None:
    assert verdict(BETTER, CHAMPION, replace(POLICY, floor=0.0)).outcome == Outcome.REJECT


def test_one_that_forgot_is_rejected_and_the_guard_is_named() -> None:
    found = verdict(candidate=side("candidate", 100, general=(123, 1000)))
    assert found.outcome == Outcome.REJECT
    assert found.reasons[0] == (
        "forgot: general ability fell from 99.0% to 12.3% of 1000 items, the margin is 3 points"
    )


def test_a_general_suite_too_small_to_tell_is_inconclusive_and_says_what_would_do() -> None:
    found = verdict(side("a", 40, general=(50, 50)), side("b", 80, general=(49, 50)))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "too small to tell" in found.reasons[0]
    assert "items would" in found.reasons[0]


def test_a_drop_beyond_the_margin_is_a_failure_even_on_a_small_suite() -> None:
    found = verdict(side("a", 40, general=(50, 50)), side("b", 80, general=(45, 50)))
    assert found.outcome == Outcome.REJECT


def test_a_drop_of_exactly_the_margin_is_not_beyond_it() -> None:
    found = verdict(side("a", 40, general=(1000, 1000)), side("b", 80, general=(970, 1000)))
    assert found.outcome == Outcome.INCONCLUSIVE


def test_graded_scores_are_tested_by_sign_flips() -> None:
    champion = replace(CHAMPION, holdout=items([0.2, 0.4, 0.6, 0.4] * 20))
    candidate = replace(BETTER, holdout=items([0.8, 0.8, 1.0, 0.6] * 20))
    found = verdict(champion, candidate)
    assert found.outcome == Outcome.PROMOTE
    assert found.figures is not None
    assert found.figures.test == "cluster sign-flip permutation"
    assert found.figures.p_value == pytest.approx(1 / 10_001)
    assert found.figures.paired.only_candidate == 20


def test_copies_of_a_prompt_have_one_vote() -> None:
    """60 items in 6 groups would be significant; 6 groups are not."""

    def copied(right: int) -> tuple[Item, ...]:
        return tuple(Item(f"{g}-{n}", f"g{g}", float(g < right), g < right) for g in range(6) for n in range(10))

    policy = replace(POLICY, min_groups=5, alpha=0.01)
    found = verdict(replace(CHAMPION, holdout=copied(0)), replace(BETTER, holdout=copied(6)), policy)
    assert found.figures is not None
    assert (found.figures.items, found.figures.groups) == (60, 6)
    assert found.outcome == Outcome.REJECT


def test_too_few_groups_are_inconclusive_and_name_the_setting() -> None:
    found = verdict(side("a", 10, 49), side("b", 49, 49))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "49, the gate asks for 50 (gate.min_groups)" in found.reasons[0]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1, None])
def test_a_score_that_is_no_share_is_inconclusive(score: float | None) -> None:
    spoiled = (BETTER.holdout[0]._replace(score=score), *BETTER.holdout[1:])
    found = verdict(candidate=replace(BETTER, holdout=spoiled))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "no number from 0 to 1" in found.reasons[0]
    assert found.figures is None


def test_nan_in_the_general_suite_is_inconclusive_too() -> None:
    spoiled = (BETTER.general[0]._replace(score=float("nan")), *BETTER.general[1:])
    assert verdict(candidate=replace(BETTER, general=spoiled)).outcome == Outcome.INCONCLUSIVE


def test_items_on_one_side_only_are_inconclusive() -> None:
    found = verdict(candidate=replace(BETTER, holdout=BETTER.holdout[1:]))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "answered by one side only" in found.reasons[0]


def test_an_item_listed_twice_is_inconclusive() -> None:
    found = verdict(candidate=replace(BETTER, holdout=(*BETTER.holdout, BETTER.holdout[0])))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "listed twice" in found.reasons[0]


def test_an_item_that_changed_its_group_is_inconclusive() -> None:
    moved = (BETTER.holdout[0]._replace(group="elsewhere"), *BETTER.holdout[1:])
    assert verdict(candidate=replace(BETTER, holdout=moved)).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("harness", ["other", ""])
def test_another_harness_is_inconclusive(harness: str) -> None:
    found = verdict(candidate=replace(BETTER, harness_sha256=harness))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "same harness" in found.reasons[0]


def test_an_empty_evaluation_is_inconclusive() -> None:
    empty = Side("triage@x", HARNESS, ())
    assert verdict(empty, empty).outcome == Outcome.INCONCLUSIVE


def test_a_missing_general_suite_is_inconclusive_where_the_base_has_one() -> None:
    found = verdict(replace(CHAMPION, general=()), replace(BETTER, general=()))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert "general suite" in found.reasons[0]


def test_without_a_general_suite_declared_none_is_asked_for() -> None:
    policy = replace(POLICY, general_required=False)
    assert verdict(replace(CHAMPION, general=()), replace(BETTER, general=()), policy).outcome == Outcome.PROMOTE


def test_an_errored_item_is_wrong_for_its_side_and_more_than_two_percent_are_inconclusive() -> None:
    def with_errors(count: int) -> Side:
        broken = tuple(i._replace(score=None, error="prompt too long") for i in BETTER.holdout[:count])
        return replace(BETTER, holdout=(*broken, *BETTER.holdout[count:]))

    few = verdict(candidate=with_errors(2))
    assert few.outcome == Outcome.PROMOTE
    assert few.figures is not None
    assert few.figures.candidate == pytest.approx(0.78)
    many = verdict(candidate=with_errors(3))
    assert many.outcome == Outcome.INCONCLUSIVE
    assert "prompt too long" in many.reasons[0]


def test_a_leak_is_refused_whatever_the_gain_and_even_with_few_groups() -> None:
    leakage = Leakage(groups=frozenset({"group-0003"}))
    for champion, candidate in ((CHAMPION, BETTER), (side("a", 1, 10), side("b", 10, 10))):
        found = verdict(champion, candidate, leakage=leakage)
        assert found.outcome == Outcome.REJECT
        assert found.reasons[0].startswith("leak: 1 holdout group(s)")


def test_a_text_that_leaked_is_refused_with_its_kind_and_an_example() -> None:
    leakage = Leakage(overlaps=(Overlap("near-duplicate", "g0003", "e7", 0.9, "the crane at berth"),), searched=200)
    found = verdict(leakage=leakage)
    assert found.outcome == Outcome.REJECT
    assert "1 item(s) have nearly the same words as a training example; such as 'g0003'" in found.reasons[0]
    assert not found.looked
    assert found.leakage == leakage


def test_schema_validity_may_fall_by_a_point_and_no_more() -> None:
    policy = replace(POLICY, schema_required=True)

    def with_schema(base: Side, valid: int) -> Side:
        return replace(base, holdout=tuple(i._replace(schema_valid=n < valid) for n, i in enumerate(base.holdout)))

    assert verdict(with_schema(CHAMPION, 100), with_schema(BETTER, 99), policy).outcome == Outcome.PROMOTE
    worse = verdict(with_schema(CHAMPION, 100), with_schema(BETTER, 98), policy)
    assert worse.outcome == Outcome.REJECT
    assert worse.reasons[0].startswith("schema validity fell from 100.0% to 98.0%")
    assert verdict(policy=policy).outcome == Outcome.INCONCLUSIVE


def test_a_verdict_does_not_depend_on_the_order_of_items() -> None:
    turned = replace(BETTER, holdout=BETTER.holdout[::-1], general=BETTER.general[::-1])
    assert verdict(candidate=turned) == verdict()


@pytest.mark.slow
def test_equal_candidates_are_promoted_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(7)
    policy = replace(POLICY, general_required=False, floor=0.0)
    promoted = 0
    for _ in range(500):
        first, second = (rng.random((2, 200)) < 0.7).astype(float).tolist()
        champion, candidate = (Side(f"t@{n}", HARNESS, items(s)) for n, s in enumerate((first, second)))
        promoted += judge(champion, candidate, policy, Leakage()).outcome == Outcome.PROMOTE
    assert promoted / 500 <= 0.015  # alpha/2 is 0.005; three standard errors above it


@pytest.mark.slow
def test_a_suite_of_a_thousand_items_passes_a_fall_of_one_point_and_three_hundred_often_cannot_tell() -> None:
    rng = np.random.default_rng(8)

    def passes(n: int) -> float:
        passed = 0
        for _ in range(100):
            draw = rng.choice(3, size=n, p=[0.98, 0.005, 0.015])  # unchanged, gained, lost
            before = [0.0 if d == 1 else 1.0 for d in draw]
            after = [0.0 if d == 2 else 1.0 for d in draw]
            champion = replace(CHAMPION, general=items(before, "general-"))
            candidate = replace(BETTER, general=items(after, "general-"))
            passed += verdict(champion, candidate).outcome == Outcome.PROMOTE
        return passed / 100

    assert passes(1000) >= 0.95
    assert passes(300) <= 0.75


def cut(items: tuple[Item, ...], count: int) -> tuple[Item, ...]:
    """The first `count` answers never ended, however right they looked."""
    return tuple(item._replace(cut_off=place < count) for place, item in enumerate(items))


def test_an_answer_that_was_cut_off_is_wrong_and_the_reasons_count_it_last() -> None:
    candidate = replace(BETTER, holdout=cut(BETTER.holdout, 40), general=cut(BETTER.general, 2))
    champion = replace(CHAMPION, holdout=cut(CHAMPION.holdout, 3))
    found = verdict(champion, candidate)
    assert found.figures is not None
    assert (found.figures.champion, found.figures.candidate) == (0.37, 0.4)
    assert found.outcome == Outcome.REJECT
    assert found.reasons[-1] == (
        "cut off at the evaluation's length limit and so counted as wrong: 3 of 100 holdout answers of the champion; "
        "40 of 100 holdout answers of the candidate; 2 of 1000 general answers of the candidate"
    )


def test_where_every_answer_ended_no_reason_speaks_of_it() -> None:
    assert not [reason for reason in verdict().reasons if "cut off" in reason]


def test_figures_that_cannot_be_compared_still_say_what_was_cut_off() -> None:
    found = verdict(candidate=replace(BETTER, harness_sha256="other", holdout=cut(BETTER.holdout, 1)))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert found.reasons[-1].endswith("1 of 100 holdout answers of the candidate")
