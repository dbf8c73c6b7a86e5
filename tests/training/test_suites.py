import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unusable
from training.suites import choose, exact, json_fields
from training.suites.score import Attempt
from training.suites.suite import Suite, read_suites

EXPECTED = '{"queue": "network", "severity": 2, "customer": "Mara Voss"}'
JSON_FIELDS = json_fields.score
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("expected", "answer", "same"),
    [
        ("48213", "48213", True),
        ("48213", " 48213\n", True),
        ("a\r\nb", "a \nb", True),
        ("Caf\u00e9", "Cafe\u0301", True),
        ("48213", "48214", False),
        ("Mara", "mara", False),
        ("", "x", False),
    ],
)
def test_exact_is_the_whole_text_or_nothing(expected: str, answer: str, same: bool) -> None:
    scored = exact.score(Attempt(expected, answer))
    assert (scored.exact, scored.score) == (same, float(same))


@pytest.mark.parametrize(
    ("answer", "score", "exact"),
    [
        (EXPECTED, 1.0, True),
        ('{"customer":"Mara Voss","severity":2.0,"queue":"network"}', 1.0, True),
        (EXPECTED.replace("2", '"2"'), 2 / 3, False),
        (EXPECTED.replace("2", "true"), 2 / 3, False),
        (EXPECTED[:-1] + ', "mood": "bad"}', 3 / 4, False),
        ('{"queue": "network"}', 1 / 3, False),
        ("[1]", 0.0, False),
        ("Sure: " + EXPECTED, 0.0, False),
        (EXPECTED[:-1], 0.0, False),
        ("", 0.0, False),
        ('{"queue": NaN}', 0.0, False),
        ('{"queue": "power", "queue": "network"}', 0.0, False),
        ("[" * 100_000, 0.0, False),
    ],
)
def test_json_fields_counts_right_fields(answer: str, score: float, exact: bool) -> None:
    scored = JSON_FIELDS(EXPECTED, answer, None)
    assert scored.score == pytest.approx(score)
    assert scored.exact is exact
    assert set(scored.fields or {}) == {"queue", "severity", "customer"}


def test_json_fields_says_whether_the_schema_holds() -> None:
    assert JSON_FIELDS(EXPECTED, EXPECTED, None).schema_valid is None
    assert JSON_FIELDS(EXPECTED, EXPECTED, lambda value: True).schema_valid is True
    assert JSON_FIELDS(EXPECTED, "no json", lambda value: True).schema_valid is False


@given(st.dictionaries(st.text(), JSON_VALUES), st.dictionaries(st.text(), JSON_VALUES))
def test_only_the_same_object_is_exact(expected: dict[str, object], answer: dict[str, object]) -> None:
    assert JSON_FIELDS(json.dumps(expected), json.dumps(expected, sort_keys=True), None).exact
    same = json.dumps(expected, sort_keys=True) == json.dumps(answer, sort_keys=True)
    assert JSON_FIELDS(json.dumps(expected), json.dumps(answer), None).exact is same


def test_an_expected_answer_that_cannot_be_scored_is_named() -> None:
    assert json_fields.check_expected("plain text") is not None
    assert json_fields.check_expected(EXPECTED) is None


def with_tolerance(field: str, expected: object, answer: object, **allowed: float) -> bool:
    scorer = choose("json_fields", {"tolerance": {field: allowed}}, None).score
    scored = scorer(Attempt(json.dumps({field: expected, "b": 1}), json.dumps({field: answer, "b": 1})))
    assert (scored.score == 1.0) is scored.exact
    return scored.exact


@pytest.mark.parametrize(
    ("expected", "answer", "allowed", "right"),
    [
        (10, 10.01, {"absolute": 0.01}, True),
        (10, 10.02, {"absolute": 0.01}, False),
        (0.3, 0.1 + 0.2, {"absolute": 0}, True),
        (-200, -210, {"relative": 0.05}, True),
        (200, 211, {"relative": 0.05}, False),
        (0, 0.001, {"relative": 0.5}, False),
        (1, True, {"absolute": 5}, False),
        (1, "1", {"absolute": 5}, False),
        (1, 10**400, {"absolute": 5}, False),
        ("2026-03-01", "2026-02-28", {"days": 1}, True),
        ("2026-03-01", "2026-02-27", {"days": 1}, False),
        ("2026-03-01T10:00:00Z", "2026-03-01T12:00:30+02:00", {"seconds": 30}, True),
        ("2026-03-01T10:00:00", "2026-03-01T10:00:31Z", {"seconds": 30}, False),
        ("2026-03-01", "March 1st", {"days": 9}, False),
        ("2026-03-01", 20260301, {"days": 9}, False),
        ("as it was", "as it was", {"days": 0}, True),
        (None, None, {"absolute": 1}, True),
    ],
)
def test_a_field_with_a_tolerance_is_right_when_it_is_near_enough(
    expected: object, answer: object, allowed: dict[str, float], right: bool
) -> None:
    assert with_tolerance("a", expected, answer, **allowed) is right


def test_without_a_tolerance_the_other_fields_stay_strict() -> None:
    scorer = choose("json_fields", {"tolerance": {"a": {"absolute": 1}}}, None).score
    assert scorer(Attempt('{"a": 1, "b": 1}', '{"a": 2, "b": 2}')).fields == {"a": True, "b": False}


def lines(path: Path, answers: list[str]) -> Path:
    rows = []
    for number, answer in enumerate(answers):
        asked = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": answer}]
        rows.append(json.dumps({"id": f"i{number}", "group": f"g{number}", "messages": asked}))
    path.write_text("\n".join(rows))
    return path


def read(path: Path) -> Suite:
    return read_suites([f"holdout={path}:json_fields"], [], None, Path)[0]


def test_one_item_that_nobody_can_score_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = read(lines(tmp_path / "items.jsonl", ['{"a": 1}'] * 59 + ['{"a": 1, "a": 2}']))
    assert [item.id for item in suite.items] == [f"i{number}" for number in range(59)]
    assert list(suite.left_out) == ["i59"]
    assert "item i59 is left out for every version" in capsys.readouterr().err


def test_many_items_that_nobody_can_score_are_another_suite_than_was_drawn(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"item i58 .* not a JSON object.* 2 of 60 items"):
        read(lines(tmp_path / "items.jsonl", ['{"a": 1}'] * 58 + ["[1]", "text"]))
