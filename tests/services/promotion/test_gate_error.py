"""The figures of docs/gate.md about false promotions: simulated by the gate's own rule."""

import json

import pytest

from benchmarks import gate_error
from benchmarks.gate_error import ALPHA, RESULTS, is_promoted, judged, paid_for, simulate
from services.promotion.gate import Outcome


def test_one_look_lets_an_equal_candidate_through_at_most_half_of_alpha() -> None:
    row = simulate(200, 0.2, 2000)  # 60,000 tries: the standard error is 0.03 points
    assert 0.003 < row["one_try"] < ALPHA / 2 + 0.001


def test_thirty_looks_at_one_holdout_let_far_more_through_than_alpha() -> None:
    row = simulate(200, 0.2, 2000)
    assert row["one_try"] * 10 < row["after_tries"] <= 30 * row["one_try"]


def test_thirty_looks_with_the_ledger_are_five() -> None:
    assert paid_for(200) == 5
    row = simulate(200, 0.2, 2000)
    assert row["one_try"] < row["with_ledger"] <= 5 * row["one_try"]


def test_of_thirty_nightly_candidates_that_are_equal_at_most_one_holdout_in_ten_promotes_any() -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    assert max(row["with_ledger"] for row in rows) <= 0.1


@pytest.mark.parametrize(("lost", "gained"), [(0, 7), (0, 8), (2, 13), (2, 14), (8, 0)])
def test_the_short_way_and_the_whole_gate_agree(lost: int, gained: int) -> None:
    assert (judged(140, lost, gained, 200) == Outcome.PROMOTE) == is_promoted(lost, gained, 200)


def test_a_simulation_by_another_rule_than_the_gates_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_error, "is_promoted", lambda *_: True)
    with pytest.raises(SystemExit, match="the gate says REJECT"):
        simulate(60, 0.2, 10)


def test_the_page_shows_the_figures_that_were_measured() -> None:
    page = (RESULTS.parents[2] / "docs" / "gate.md").read_text("utf-8")
    for row in json.loads(RESULTS.read_text("utf-8"))["rows"]:
        shares = f"{row['one_try']:.2%} | {row['after_tries']:.1%} | {row['with_ledger']:.1%}"
        shown = f"| {row['groups']} | {row['disagree']:.0%} | {shares} |"
        assert shown.replace("%", " %") in page
