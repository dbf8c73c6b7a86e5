"""The scorer text against what its packages say by themselves, and on texts they were not made for."""

from typing import Any

import pytest

from training.suites import choose
from training.suites.score import Attempt

WANTED = "The router in room 12 is down; we send a technician today."
SAID = "We send a technician today, the router in room 12 is down."


def details(expected: str, answer: str) -> dict[str, Any]:
    return choose("text", {}, None).score(Attempt(expected, answer)).details or {}


def test_the_figures_are_those_of_the_packages() -> None:
    import sacrebleu
    from rapidfuzz.distance import Levenshtein
    from rouge_score.rouge_scorer import RougeScorer

    found = details(WANTED, SAID)
    assert found["chrf"] == pytest.approx(sacrebleu.sentence_chrf(SAID, [WANTED]).score / 100, abs=1e-6)
    assert found["rouge_l"] == pytest.approx(RougeScorer(["rougeL"]).score(WANTED, SAID)["rougeL"].fmeasure, abs=1e-6)
    assert found["edit"] == pytest.approx(Levenshtein.normalized_similarity(WANTED, SAID), abs=1e-6)
    assert found["length"] == 1.0


@pytest.mark.parametrize("measure", ["chrf", "rouge_l", "edit", "length"])
def test_the_option_says_which_figure_is_the_score(measure: str) -> None:
    chosen = choose("text", {"measure": measure, "right_from": 0.5}, None)
    found = chosen.score(Attempt(WANTED, SAID))
    assert chosen.graded
    assert found.score == (found.details or {})[measure]
    assert found.exact is (found.score >= 0.5)


@pytest.mark.parametrize(
    "text", [WANTED, "\u8bf7\u4eca\u5929\u6d3e\u6280\u672f\u5458", "\u0440\u043e\u0443\u0442\u0435\u0440 12"]
)
def test_the_same_text_is_right_in_any_script(text: str) -> None:
    found = choose("text", {}, None).score(Attempt(text, f" {text}\n"))
    assert found.exact
    assert all((found.details or {})[name] == 1.0 for name in ("chrf", "rouge_l", "edit", "length"))


def test_an_empty_answer_scores_nothing() -> None:
    found = details(WANTED, "")
    assert [found[name] for name in ("chrf", "rouge_l", "edit", "length")] == [0.0] * 4
