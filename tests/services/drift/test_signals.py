"""What is read off an answer."""

import pytest

from services.drift.signals import is_negative, is_refusal, last_question, number, repetition


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot do this for you.",
        "I cannot assist with this request.",
        "As an AI language model, I can't have opinions.",
        "I must decline.",
    ],
)
def test_a_refusal_is_known_by_its_words(said: str) -> None:
    assert is_refusal(said)


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry for the delay; your parcel arrives tomorrow.",
        "You cannot log in because the account is locked. Reset the password.",
        '{"category": "billing"}',
        "",
    ],
)
def test_an_answer_that_is_sorry_is_no_refusal(said: str) -> None:
    assert not is_refusal(said)


def test_repetition_is_the_share_of_word_triples_that_came_before() -> None:
    assert repetition("one two three four five six") == 0.0
    assert repetition("no no no no no no") == pytest.approx(0.75)
    assert repetition("yes") == 0.0


def test_the_last_question_is_the_prompt_without_the_systems_part() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "this"},
    ]
    assert last_question([{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]) == "see\nthis"
    assert last_question([{"role": "assistant", "content": "hello"}]) == ""


def test_feedback_without_a_verdict_is_neither_good_nor_bad() -> None:
    assert [is_negative("down", None), is_negative("up", 0.1), is_negative(None, 0.2)] == [True, False, True]
    assert is_negative(None, None) is None


def test_what_is_no_finite_number_is_none() -> None:
    assert [number(v) for v in (True, "1", None, float("nan"), float("inf"), 10**400)] == [None] * 6
    assert number(3) == 3.0
