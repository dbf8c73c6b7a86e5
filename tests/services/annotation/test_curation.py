from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.annotation.answer_schema import schema_errors
from services.annotation.curation import (
    Accepted,
    Correction,
    Discarded,
    KnowledgeGap,
    Reason,
    Refusal,
    Refused,
    Taught,
    curate,
    normalised,
    slip_of,
)

PROMPT = "Ticket 17: the router in the hall is down again since this morning, please send somebody to look at it today"
SCHEMA = {"type": "object", "required": ["queue"], "properties": {"queue": {"type": "string"}}}
FIXED = Correction("fix", '{"queue": "net"}', frozenset({Reason.FORMAT}), "q17", PROMPT, "no idea")
KNOWN = Taught("ex-1", "q17", PROMPT, '{"queue": "power"}')


def test_a_fixed_answer_becomes_an_example() -> None:
    assert curate(FIXED, [], SCHEMA) == Accepted("fix", '{"queue": "net"}', retires=None)


def test_a_good_answer_becomes_an_example_too() -> None:
    good = replace(FIXED, verdict="good", ideal=None, answer='{"queue": "net"}\n')
    assert curate(good, [], SCHEMA) == Accepted("good", '{"queue": "net"}', retires=None)


@pytest.mark.parametrize("verdict", ["good", "fix", "discard"])
def test_a_missing_fact_goes_to_retrieval_and_never_into_weights(verdict: Any) -> None:
    gap = replace(FIXED, verdict=verdict, reasons=frozenset({Reason.KNOWLEDGE, Reason.TONE}))
    assert curate(gap, [], SCHEMA) == KnowledgeGap(retires=None)
    assert curate(gap, [KNOWN], SCHEMA) == KnowledgeGap(retires="ex-1")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ideal": " \n "}, Refusal.EMPTY),
        ({"ideal": None}, Refusal.EMPTY),
        ({"ideal": "no idea"}, Refusal.UNCHANGED),
        ({"ideal": "no idea "}, Refusal.UNCHANGED),
        ({"ideal": '{"queue": 3}'}, Refusal.SCHEMA_INVALID),
        ({"ideal": "not JSON"}, Refusal.SCHEMA_INVALID),
        ({"verdict": "good", "ideal": "another text"}, Refusal.EDITED),
        ({"verdict": "good", "ideal": None}, Refusal.SCHEMA_INVALID),
        ({"verdict": "good", "ideal": None, "answer": ""}, Refusal.EMPTY),
    ],
)
def test_what_cannot_teach_is_refused_with_a_reason(change: dict[str, Any], why: Refusal) -> None:
    outcome = curate(replace(FIXED, **change), [], SCHEMA)
    assert isinstance(outcome, Refused)
    assert outcome.why == why
    assert slip_of(replace(FIXED, **change), SCHEMA) == outcome


def test_a_discard_is_no_error_whatever_the_text() -> None:
    assert curate(replace(FIXED, verdict="discard", ideal=""), [KNOWN], SCHEMA) == Discarded()


def test_the_same_answer_to_the_same_prompt_teaches_nothing_new() -> None:
    assert curate(FIXED, [replace(KNOWN, ideal='{"queue": "net"}')], SCHEMA) == Refused(Refusal.DUPLICATE)


def test_a_later_answer_to_the_same_prompt_supersedes_the_former() -> None:
    assert curate(FIXED, [KNOWN], SCHEMA) == Accepted("fix", '{"queue": "net"}', retires="ex-1")


def test_an_almost_equal_prompt_with_the_same_answer_teaches_nothing_new() -> None:
    twin = Taught("ex-2", "q18", PROMPT.replace("Ticket", "ticket,").replace("again", "again!"), '{"queue": "net"}')
    assert curate(FIXED, [twin], SCHEMA) == Refused(Refusal.NEAR_DUPLICATE)


def test_another_number_is_another_question_even_with_the_same_answer() -> None:
    other = Taught("ex-2", "q18", PROMPT.replace("17", "18"), '{"queue": "net"}')
    assert isinstance(curate(FIXED, [other], SCHEMA), Accepted)


def test_a_changed_answer_supersedes_even_when_a_twin_says_the_same() -> None:
    twin = Taught("ex-2", "q18", PROMPT + "!", '{"queue": "net"}')
    assert curate(FIXED, [KNOWN, twin], SCHEMA) == Accepted("fix", '{"queue": "net"}', retires="ex-1")


@given(st.text())
def test_an_editor_that_adds_a_line_end_has_changed_nothing(text: str) -> None:
    assert normalised(text + "\r\n") == normalised(text) == normalised(normalised(text))


def test_schema_errors_say_where_and_what() -> None:
    assert schema_errors('{"queue": 3}', SCHEMA) == ["queue: 3 is not of type 'string'"]
    assert schema_errors('{"queue": NaN}', SCHEMA) == ["it is not JSON: NaN is not JSON"]
    assert schema_errors('{"queue": "a", "queue": "b"}', SCHEMA) == [
        "it is not JSON: the name 'queue' stands in one object twice"
    ]
    assert schema_errors("anything", None) == []
    assert schema_errors('{"queue": ' + "[" * 100_000 + "]" * 100_000 + "}", SCHEMA)


def test_a_schema_never_fetches_what_it_refers_to() -> None:
    [sentence] = schema_errors("{}", {"$ref": "http://127.0.0.1:9/schema.json"})
    assert "refers to 'http://127.0.0.1:9/schema.json', which is not in it" in sentence
