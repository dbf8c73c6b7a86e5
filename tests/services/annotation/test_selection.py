import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.annotation.grouping import Split
from services.annotation.selection import (
    Candidate,
    Observed,
    Opinion,
    Signal,
    choose,
    confidence_of,
    daily_quota,
    nominate,
    signals_of,
    words_of,
)
from shared.workloads import Workload

QUIET = Observed(
    answer_id="a",
    answer="yes",
    split="train",
    straddles=False,
    cut_off=False,
    schema_valid=True,
    confidence=0.9,
    opinions=(),
)
DISLIKED = Opinion("down", None, None)


def workload(audit_share: float = 0.0, daily_budget: int = 100, holdout_share: float = 0.2) -> Workload:
    return Workload.model_validate(
        {
            "base": "tiny",
            "selection": {"audit_share": audit_share, "daily_budget": daily_budget},
            "gate": {"holdout_share": holdout_share},
        }
    )


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        ({"opinions": (DISLIKED,)}, Signal.NEGATIVE_FEEDBACK),
        ({"opinions": (Opinion(None, 0.4, None),)}, Signal.NEGATIVE_FEEDBACK),
        ({"opinions": (Opinion(None, None, "no"),)}, Signal.NEGATIVE_FEEDBACK),
        ({"schema_valid": False}, Signal.SCHEMA_INVALID),
        ({"confidence": 0.59}, Signal.LOW_CONFIDENCE),
    ],
)
def test_what_stands_out_is_nominated(change: dict[str, Any], signal: Signal) -> None:
    seen = replace(QUIET, **change)
    assert signals_of(seen, workload()) == [signal]
    assert nominate(seen, workload()) is not None


@pytest.mark.parametrize("opinion", [Opinion("up", None, None), Opinion(None, 0.5, None), Opinion(None, None, "yes ")])
def test_praise_is_no_signal(opinion: Opinion) -> None:
    assert signals_of(replace(QUIET, opinions=(opinion,)), workload()) == []


def test_the_strongest_signal_comes_first_in_the_queue() -> None:
    order = [
        nominate(replace(QUIET, opinions=(DISLIKED,)), workload()),
        nominate(replace(QUIET, schema_valid=False), workload()),
        nominate(replace(QUIET, confidence=0.1), workload()),
        nominate(QUIET, workload(audit_share=1.0)),
    ]
    assert None not in order
    assert order == sorted(order)  # type: ignore[type-var]


def test_a_quiet_training_sample_is_audited_at_the_share_asked_for() -> None:
    audited = sum(nominate(replace(QUIET, answer_id=str(n)), workload(0.1)) is not None for n in range(4000))
    assert 0.08 < audited / 4000 < 0.12


@given(
    st.lists(st.builds(Opinion, st.sampled_from(["up", "down", None]), st.floats(0, 1), st.text()), max_size=3),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 1)),
    st.text(),
)
def test_nothing_about_an_answer_moves_a_holdout_sample(
    opinions: list[Opinion], schema_valid: bool, confidence: float | None, answer: str
) -> None:
    held_out = replace(QUIET, split="holdout")
    other = replace(held_out, opinions=opinions, schema_valid=schema_valid, confidence=confidence, answer=answer)
    assert nominate(other, workload()) == nominate(held_out, workload())


def test_holdout_places_are_spread_evenly_over_the_queue() -> None:
    places = [nominate(replace(QUIET, split="holdout", answer_id=str(n)), workload()) or 0 for n in range(2000)]
    quarters = [sum(q / 4 <= p < (q + 1) / 4 for p in places) for q in range(4)]
    assert min(quarters) > 430


@pytest.mark.parametrize("split", ["train", "holdout"])
@pytest.mark.parametrize("change", [{"cut_off": True}, {"straddles": True}])
def test_what_can_neither_teach_nor_test_is_not_nominated(split: Split, change: dict[str, Any]) -> None:
    assert nominate(replace(QUIET, split=split, opinions=(DISLIKED,), **change), workload(1.0)) is None


@pytest.mark.parametrize(("budget", "holdout", "train"), [(100, 20, 80), (3, 1, 2), (2, 1, 1), (1, 1, 1)])
def test_the_holdout_grows_with_the_budget_and_each_side_gets_something(budget: int, holdout: int, train: int) -> None:
    policy = workload(daily_budget=budget)
    assert (daily_quota(policy, "holdout"), daily_quota(policy, "train")) == (holdout, train)


def test_near_duplicates_go_to_the_desk_one_by_one() -> None:
    queue = [
        Candidate("a", "q1", "t1"),
        Candidate("b", "q2", "t1"),
        Candidate("c", "q3", "t3"),
        Candidate("d", "q4", "t4"),
    ]
    assert [c.answer_id for c in choose(queue, 2)] == ["a", "c"]


def test_confidence_is_the_mean_probability_of_a_token() -> None:
    assert confidence_of(math.log(0.5)) == pytest.approx(0.5)
    assert confidence_of(None) is None
    assert confidence_of(math.nan) is None
    assert confidence_of(1e9) == 1.0


def test_the_desk_says_why_an_item_is_there_in_words() -> None:
    assert words_of(["negative_feedback", "low_confidence"]) == "negative feedback, low confidence"
    assert words_of([]) == "random audit"
