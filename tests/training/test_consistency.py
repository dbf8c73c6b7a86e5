import pytest
from scipy.stats import binomtest

from training.suites import consistency, cost
from training.suites.score import Score


def agreement(scorer: str, *answers: str, right: tuple[bool, ...] | None = None) -> float:
    flags = right or (True,) * len(answers)
    found = consistency.samples(scorer, 0.7, answers, [Score(float(flag), flag) for flag in flags])
    return float(found["agreement"])


def test_answers_agree_when_they_say_the_same() -> None:
    assert agreement("exact", "a", "a ", "b") == pytest.approx(1 / 3, abs=1e-6)
    assert agreement("json_fields", '{"a": 1, "b": 2}', '{"b":2,"a":1.0}') == 1.0
    assert agreement("json_fields", '{"a": 1}', "no json") == 0.0
    assert agreement("code", "x", "y", right=(True, True)) == 1.0
    assert agreement("code", "x", "y", right=(True, False)) == 0.0


def test_the_rate_is_by_group_with_wilsons_interval() -> None:
    def row(group: str, agreed: float) -> dict[str, object]:
        return {"group": group, "samples": {"agreement": agreed, "of": 2, "right": 2, "temperature": 0.7}}

    rows = [row("a", 0.0)] + [row("b", 1.0)] * 5 + [row("c", 1.0), row("d", 1.0)]
    found = consistency.figures(rows) or {}
    expected = binomtest(3, 4).proportion_ci(0.95, method="wilson")
    assert found["agreement"] == 0.75
    assert (found["low"], found["high"]) == (
        pytest.approx(expected.low, abs=1e-5),
        pytest.approx(expected.high, abs=1e-5),
    )
    assert consistency.figures([{"group": "a", "samples": None}]) is None


def test_money_follows_tokens_and_device_time() -> None:
    price = cost.read_price(
        {"currency": "EUR", "prompt_million_tokens": 1, "answer_million_tokens": 4, "device_hour": 36}
    )
    assert price.of(1000, 500, 2.0) == pytest.approx(0.001 + 0.002 + 0.02)
