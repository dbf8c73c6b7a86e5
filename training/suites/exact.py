"""The whole text, or nothing: equal after Unicode composition, line ends and outer spaces are evened out."""

import unicodedata

from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer


def make(options: Options, schema_check: SchemaCheck | None) -> Scorer:
    return score


def score(attempt: Attempt) -> Score:
    same = even(attempt.expected) == even(attempt.answer)
    return Score(float(same), same)


def even(text: str) -> str:
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
