"""The ledger's rule, and what the gate makes of it."""

import pytest

from services.promotion.gate import Outcome, judge
from services.promotion.guards import Leakage
from services.promotion.ledger import (
    Account,
    HoldoutVersion,
    decisions_left,
    holdout_version,
    marks,
    needed,
    spent_out,
)
from services.promotion.measurement import Side
from tests.services.promotion.test_gate import BETTER, CHAMPION, POLICY, side


def groups(first: int, last: int) -> frozenset[str]:
    return marks(f"group-{n}" for n in range(first, last))


def account(spent: float, budget: float = 0.05, *, made: bool = False) -> Account:
    return Account(HoldoutVersion(1, 100, frozenset()), budget, spent, round(spent / 0.01), 7, 25, made)


def test_a_version_ends_when_a_quarter_of_new_groups_has_come() -> None:
    first, missing = holdout_version(None, groups(0, 100), 0.25)
    assert (first.number, first.size, missing) == (1, 100, 25)
    still, missing = holdout_version(first, groups(0, 124), 0.25)
    assert (still.number, missing) == (1, 1)
    second, missing = holdout_version(first, groups(0, 125), 0.25)
    assert (second.number, second.size, missing) == (2, 125, 32)


def test_groups_that_a_decision_has_seen_never_count_as_new() -> None:
    first, _ = holdout_version(None, groups(0, 100), 0.25)
    for grown in range(110, 200, 10):  # ten new ones before each decision, and a decision with each ten
        first, missing = holdout_version(first, groups(0, grown), 0.25)
        assert first.number == 1
        assert missing > 0


def test_a_holdout_that_shrank_and_grew_back_is_not_a_new_one() -> None:
    first, _ = holdout_version(None, groups(0, 100), 0.25)
    shrunk, missing = holdout_version(first, groups(0, 20), 0.25)
    assert (shrunk.number, shrunk.size, missing) == (1, 100, 25)
    back, missing = holdout_version(shrunk, groups(0, 100), 0.25)
    assert (back.number, missing) == (1, 25)
    other, _ = holdout_version(shrunk, groups(80, 124), 0.25)
    assert other.number == 1
    assert holdout_version(shrunk, groups(80, 125), 0.25)[0].number == 2


def test_a_small_holdout_still_needs_one_new_group() -> None:
    assert needed(1, 0.01) == 1
    assert needed(100, 0.25) == 25
    assert needed(30, 0.1) == 3  # not 4, by the rounding of 0.1


def test_five_times_a_hundredth_pays_for_five_decisions_whatever_the_rounding() -> None:
    assert [decisions_left(0.05, n * 0.01, 0.01) for n in range(7)] == [5, 4, 3, 2, 1, 0, 0]
    assert account(sum([0.01] * 4)).allows(0.01)
    assert not account(sum([0.01] * 5)).allows(0.01)


def test_when_the_budget_is_spent_even_a_far_better_candidate_gets_no_verdict() -> None:
    found = judge(CHAMPION, BETTER, POLICY, Leakage(), account(0.05))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert not found.looked
    assert found.reasons[0] == (
        "alpha budget spent: 5 decision(s) on version 1 of the holdout used 0.05 of 0.05 (gate.alpha_budget); 7 more "
        "new prompt group(s) in the holdout bring a new budget (gate.holdout_growth): correct more answers, or raise "
        "gate.holdout_share"
    )
    assert found.reasons[1].startswith("better on the holdout")


def test_a_decision_that_was_made_and_paid_for_stands_when_it_is_judged_again() -> None:
    found = judge(CHAMPION, BETTER, POLICY, Leakage(), account(0.05, made=True))
    assert found.outcome == Outcome.PROMOTE


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [
        (BETTER, Outcome.PROMOTE),
        (side("candidate", 44), Outcome.REJECT),
        (side("candidate", 80, general=(900, 1000)), Outcome.REJECT),
        (side("candidate", 80, general=(962, 1000)), Outcome.INCONCLUSIVE),
    ],
)
def test_a_decision_on_the_figures_spends_whatever_its_outcome(candidate: Side, outcome: Outcome) -> None:
    found = judge(CHAMPION, candidate, POLICY, Leakage(), account(0.0))
    assert (found.outcome, found.looked) == (outcome, True)


def test_where_no_figure_could_have_promoted_nothing_is_spent() -> None:
    leaked = judge(CHAMPION, BETTER, POLICY, Leakage(groups=frozenset({"g"})), account(0.0))
    few = judge(side("a", 4, 20), side("b", 18, 20), POLICY, Leakage(), account(0.0))
    holes = judge(CHAMPION, side("b", 80, 99), POLICY, Leakage(), account(0.0))
    assert [(v.outcome, v.looked) for v in (leaked, few, holes)] == [
        (Outcome.REJECT, False),
        (Outcome.INCONCLUSIVE, False),
        (Outcome.INCONCLUSIVE, False),
    ]


def test_hostile_names_of_groups_have_marks_too() -> None:
    assert len(marks(["", "\ud800", "a" * 100_000, "\x00"])) == 4


def test_the_sentence_of_a_spent_budget_begins_with_its_name() -> None:
    assert spent_out(account(0.05)).startswith("alpha budget spent")
