"""The whole text, or nothing: equal after Unicode composition, line ends and outer spaces are evened out."""

import unicodedata
from collections.abc import Callable
from typing import Any

from training.suites.score import Score


def score(expected: str, answer: str, schema_check: Callable[[Any], bool] | None) -> Score:
    same = _even(expected) == _even(answer)
    return Score(float(same), same)


def check_expected(expected: str) -> str | None:
    return None


def _even(text: str) -> str:
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
