"""What counts as moved, and what becomes of it over the windows."""

import numpy as np
import pytest

from services.drift.comparison import Finding, State, Window, compare, gravest, standings, state_after


def numbers(seed: int, n: int = 1000, times: float = 1.0, spread: float = 0.5) -> list[float]:
    return list(times * np.random.default_rng(seed).lognormal(5, spread, n))


def rates(hits: int, n: int) -> list[bool]:
    return [place < hits for place in range(n)]


def moved(before: Window, now: Window) -> dict[str, bool | None]:
    return {finding.signal: finding.moved for finding in compare(before, now)}


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([False], State.OK),
        ([True], State.WARN),
        ([True, True], State.DRIFT),
        ([True, False, True], State.WARN),
        ([True, True, False], State.OK),
        ([None], State.INSUFFICIENT_DATA),
        ([False, None], State.INSUFFICIENT_DATA),
        ([True, None], State.WARN),
        ([True, None, True], State.DRIFT),
        ([], State.INSUFFICIENT_DATA),
    ],
)
def test_two_windows_in_a_row_are_drift_and_no_data_is_never_ok(answers: list[bool | None], state: State) -> None:
    assert state_after(answers) is state


def test_the_gravest_state_counts_and_nothing_looked_at_is_not_ok() -> None:
    assert gravest([State.OK, State.WARN, State.INSUFFICIENT_DATA]) is State.WARN
    assert gravest([State.OK, State.INSUFFICIENT_DATA]) is State.INSUFFICIENT_DATA
    assert gravest([]) is State.INSUFFICIENT_DATA


def test_answers_half_as_long_again_have_moved_and_the_same_ones_have_not() -> None:
    before = Window({"answer_tokens": numbers(1)})
    assert moved(before, Window({"answer_tokens": numbers(2)})) == {"answer_tokens": False}
    assert moved(before, Window({"answer_tokens": numbers(2, times=1.5)})) == {"answer_tokens": True}


def test_a_change_beyond_chance_that_is_too_small_to_matter_has_not_moved() -> None:
    before, now = Window({"answer_tokens": numbers(1, 20_000)}), Window({"answer_tokens": numbers(2, 20_000, 1.06)})
    (finding,) = compare(before, now)
    assert finding.p_value is not None
    assert finding.p_value < 0.001
    assert finding.moved is False


def test_another_spread_moves_a_number_whose_median_stays() -> None:
    before, now = Window({"latency_seconds": numbers(1)}), Window({"latency_seconds": numbers(2, spread=1.2)})
    (finding,) = compare(before, now)
    assert abs(finding.figures["median_shift"]) < 0.15
    assert finding.moved is True


def test_a_rate_has_to_move_two_points_and_a_quarter_of_itself() -> None:
    before = Window({"refusal": rates(200, 10_000), "schema_valid": rates(4_000, 10_000)})
    now = Window({"refusal": rates(380, 10_000), "schema_valid": rates(4_900, 10_000)})
    assert moved(before, now) == {"refusal": False, "schema_valid": False}
    now = Window({"refusal": rates(400, 10_000), "schema_valid": rates(5_000, 10_000)})
    assert moved(before, now) == {"refusal": True, "schema_valid": True}


def test_finish_reasons_that_changed_have_moved() -> None:
    before, now = ["stop"] * 950 + ["length"] * 50, ["stop"] * 800 + ["length"] * 200
    assert moved(Window({"finish_reason": before}), Window({"finish_reason": now})) == {"finish_reason": True}
    assert moved(Window({"finish_reason": before}), Window({"finish_reason": before})) == {"finish_reason": False}


def test_fewer_than_500_events_are_not_judged_and_the_finding_says_on_which_side() -> None:
    before, now = Window({"answer_tokens": numbers(1)}), Window({"answer_tokens": numbers(2, n=499, times=9)})
    (finding,) = compare(before, now)
    assert finding.moved is None
    assert "499 in the window" in finding.why


def test_a_signal_that_vanished_is_insufficient_data_not_ok() -> None:
    before = Window({"answer_tokens": numbers(1), "refusal": rates(10, 1000)})
    found = standings([compare(before, Window({"refusal": rates(10, 1000)}))])
    assert {s.signal: s.state for s in found} == {"answer_tokens": State.INSUFFICIENT_DATA, "refusal": State.OK}


def test_chance_is_ruled_out_for_all_signals_of_a_window_together() -> None:
    before = Window({"refusal": rates(200, 10_000)})
    lone = compare(before, Window({"refusal": rates(25, 550)}))[0]
    company = {"prompt_tokens": numbers(4), "answer_tokens": numbers(5), "latency_seconds": numbers(6)}
    many = {
        finding.signal: finding
        for finding in compare(Window({**before.values, **company}), Window({"refusal": rates(25, 550), **company}))
    }
    assert lone.adjusted_p == lone.p_value
    assert many["refusal"].adjusted_p == pytest.approx(4 * (lone.p_value or 0))


def test_findings_are_told_by_signal_over_windows() -> None:
    first = Finding("refusal", 900, 900, True, "moved")
    (standing,) = standings([[first], [Finding("refusal", 900, 100, None, "few")]])
    assert (standing.moved, standing.state, standing.last.why) == ((True, None), State.WARN, "few")
