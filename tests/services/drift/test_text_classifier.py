"""Texts of now against texts of before."""

import random

import numpy as np
import pytest
from scipy import stats

from services.drift.text_classifier import PERMUTATIONS, area_under_curve, separate

TOPICS = {
    "bill": ("refund", "invoice", "charge", "payment", "price"),
    "error": ("crash", "login", "update", "screen", "password"),
    "parcel": ("delivery", "courier", "address", "late", "lost"),
}


def questions(seed: int, n: int, weights: tuple[int, int, int]) -> list[str]:
    chance, found = random.Random(seed), []
    for _ in range(n):
        first, second = chance.sample(TOPICS[chance.choices(list(TOPICS), weights)[0]], 2)
        found.append(f"Order {chance.randrange(10**6)}: what about the {first} and my {second}?")
    return found


def test_the_area_is_the_rank_sum_of_mann_and_whitney() -> None:
    chance = np.random.default_rng(5)
    scores, labels = chance.normal(size=300).round(1), chance.integers(0, 2, 300)
    oracle = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    assert area_under_curve(scores, labels) == pytest.approx(oracle / (labels.sum() * (300 - labels.sum())))
    assert area_under_curve(scores, np.zeros(300)) == 0.5


def test_questions_of_the_same_topics_are_not_told_apart() -> None:
    found = separate(questions(1, 500, (4, 4, 2)), questions(2, 500, (4, 4, 2)))
    assert found.area < 0.60
    assert found.beyond is None


def test_questions_of_other_topics_are_told_apart_beyond_every_shuffle() -> None:
    found = separate(questions(1, 250, (5, 5, 0)), questions(2, 250, (1, 1, 8)))
    assert found.area > 0.75
    assert found.beyond is True
    assert found.p_value == pytest.approx(1 / (PERMUTATIONS + 1))


def test_a_large_area_that_shuffles_reach_too_is_chance() -> None:
    few = [questions(1, 12, (1, 1, 1)), questions(9, 12, (1, 1, 1))]
    found = separate(*few, least_area=0.0)
    assert found.beyond is False


def test_a_question_that_everybody_asks_is_not_known_by_heart() -> None:
    before, now = (
        [f"question {place % 40} of before" for place in range(400)],
        [f"question {place % 40} of before" for place in range(400)],
    )
    assert separate(before, now).area < 0.60


def test_texts_without_a_run_of_characters_are_texts_too() -> None:
    assert separate([""] * 30, ["a", ""] * 15).area <= 1.0
