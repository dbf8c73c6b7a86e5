import pytest

from services.annotation.agreement import alpha, alpha_of
from services.annotation.settling import Agreed, AwaitsAnother, Disputed, Opinion, Settlement, label_of, settle


def said(correction_id: str, label: str, ideal: str | None = None) -> Opinion:
    return Opinion(correction_id, f"by {correction_id}", label, ideal)


def settled(*opinions: Opinion, needed: int = 2, standing: str | None = None, is_json: bool = True) -> Settlement:
    return settle(opinions, needed, standing, is_json=is_json)


def test_one_of_two_awaits_the_other() -> None:
    assert settled(said("c1", "good")) == AwaitsAnother()


def test_two_who_say_the_same_agree_and_the_first_counts() -> None:
    assert settled(said("c1", "good"), said("c2", "good")) == Agreed("c1")


def test_fixes_agree_when_their_json_is_equal() -> None:
    spaced, tight = said("c1", "fix", '{ "a": 1,\n "b": 2 }'), said("c2", "fix", '{"b":2,"a":1}\n')
    assert settled(spaced, tight) == Agreed("c1")
    assert settled(spaced, said("c2", "fix", '{"a": 2, "b": 2}')) == Disputed()


def test_fixes_of_free_text_agree_whatever_their_words() -> None:
    assert settled(said("c1", "fix", "Hello"), said("c2", "fix", "Good day"), is_json=False) == Agreed("c1")


def test_different_verdicts_are_a_dispute_until_a_third_makes_a_majority() -> None:
    two = (said("c1", "good"), said("c2", "discard"))
    assert settled(*two) == Disputed()
    assert settled(*two, said("c3", "discard")) == Agreed("c2")
    assert settled(*two, said("c3", "knowledge")) == Disputed()


def test_what_stands_goes_on_while_it_is_among_those_that_agree() -> None:
    opinions = (said("c1", "good"), said("c2", "good"), said("c3", "good"))
    assert settled(*opinions, standing="c2") == Agreed("c2")
    assert settled(*opinions, standing="c0") == Agreed("c1")


def test_missing_knowledge_outranks_the_verdict() -> None:
    assert label_of("good", ["knowledge"]) == "knowledge"
    assert [label_of(word, []) for word in ("good", "fix", "discard")] == ["good", "fix", "discard"]


def test_alpha_is_what_the_coincidence_matrix_gives() -> None:
    answers = {
        "i1": {"ada": "good", "bob": "good"},
        "i2": {"ada": "fix", "bob": "fix"},
        "i3": {"ada": "good", "bob": "fix"},
        "i4": {"ada": "discard", "bob": "discard"},
        "i5": {"ada": "good"},
    }
    # 8 pairable values: good 3, fix 3, discard 2. Observed disagreement 2/8; expected 1 - (3*2 + 3*2 + 2*1) / (8*7).
    assert alpha(answers) == pytest.approx(1 - (2 / 8) / (1 - 14 / 56))
    assert alpha_of("ada", answers) == alpha(answers)


def test_who_always_disagrees_has_an_alpha_below_chance_and_the_others_a_good_one() -> None:
    answers = {}
    for n in range(20):
        right = "good" if n % 2 else "fix"
        answers[f"i{n}"] = {"ada": right, "bob": right} if n < 10 else {"ada": right, "cyd": "discard"}
    low, high = alpha_of("cyd", answers), alpha_of("bob", answers)
    assert low is not None
    assert low < 0
    assert high == pytest.approx(1.0)


def test_alpha_says_nothing_without_two_answers_or_two_words() -> None:
    assert alpha({"i1": {"ada": "good"}}) is None
    assert alpha({"i1": {"ada": "good", "bob": "good"}}) is None
