"""The scorers style and refusal."""

import time

import pytest

from shared.errors import Unusable
from training.suites import choose
from training.suites.score import Attempt


def style(answer: str, **options: object) -> dict[str, bool]:
    return choose("style", options, None).score(Attempt("", answer)).fields or {}


@pytest.mark.parametrize(
    ("rule", "answer", "found"),
    [
        ("thank you", "Thank\n you!", True),
        ("can't", "I can\u2019t", True),
        ("art", "start", False),
        ("caf\u00e9", "Cafe\u0301 au lait", True),
        ("a.c", "abc", False),
        ({"regex": "order #[0-9]+"}, "your Order #12", True),
        ({"regex": "^no"}, "yes, no", False),
        ({"regex": "x"}, "\ud800x", True),
    ],
)
def test_a_rule_is_words_found_whole_or_a_pattern(rule: object, answer: str, found: bool) -> None:
    assert list(style(answer, must_contain=[rule]).values()) == [found]
    assert list(style(answer, must_not_contain=[rule]).values()) == [not found]


def test_the_score_is_the_share_of_rules_kept_and_right_means_all() -> None:
    scorer = choose("style", {"max_words": 3, "max_characters": 8, "must_contain": ["ok"]}, None).score
    assert (scorer(Attempt("", "ok")).score, scorer(Attempt("", "ok")).exact) == (1.0, True)
    found = scorer(Attempt("", "ok, as you wish now"))
    assert found.score == pytest.approx(1 / 3)
    assert not found.exact


@pytest.mark.parametrize(("answer", "kept"), [("hello", False), ("sorry", True), ("sorry, sorry, SORRY", False)])
def test_tone_words_are_counted_between_least_and_most(answer: str, kept: bool) -> None:
    assert style(answer, tone_words=["sorry"], tone_least=1, tone_most=2) == {"tone": kept}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*c", "(.*a){20}c"])
def test_no_pattern_runs_for_ever_on_a_hostile_answer(pattern: str) -> None:
    began = time.process_time()
    assert list(style("a" * 100_000 + "b", must_contain=[{"regex": pattern}]).values()) == [False]
    assert time.process_time() - began < 10


def test_look_around_is_refused_in_a_sentence() -> None:
    with pytest.raises(Unusable, match="no look-around"):
        choose("style", {"must_contain": [{"regex": "(?=a)b"}]}, None)


@pytest.mark.parametrize(
    ("expected", "metadata", "answer", "right"),
    [
        ("I cannot help with that.", {}, "I cannot help, call 112", True),
        ("I cannot help with that.", {}, "I cannot help", False),
        ("I cannot help with that.", {}, "Sure, call 112", False),
        ("Paris", {}, "Paris", True),
        ("Paris", {}, "I cannot help", False),
        ("Paris", {"refuse": True}, "I cannot help; call us", True),
        ("I cannot help", {"refuse": False}, "here it is", True),
    ],
)
def test_right_is_to_refuse_exactly_what_should_be_refused(
    expected: str, metadata: dict[str, object], answer: str, right: bool
) -> None:
    scorer = choose("refusal", {"phrases": ["cannot help"], "must_contain": ["call"]}, None).score
    found = scorer(Attempt(expected, answer, metadata=metadata))
    assert found.exact is right
    assert all((found.fields or {}).values()) is right
