"""How answers are scored: a registry of scorers, one file each.

A scorer is a pure function of the expected text, the model's text and an optional schema check. A new one is a file
here and a line in SCORERS; its source is part of the harness hash, so figures of different scorers are never
compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from training.suites import exact, json_fields
from training.suites.score import Score

SchemaCheck = Callable[[Any], bool]


class Scorer(Protocol):
    def __call__(self, expected: str, answer: str, schema_check: SchemaCheck | None) -> Score: ...


@dataclass(frozen=True, slots=True)
class NamedScorer:
    score: Scorer
    check_expected: Callable[[str], str | None]  # what is wrong with an expected answer, None when it can be scored
    source: str


SCORERS: dict[str, NamedScorer] = {
    "exact": NamedScorer(exact.score, exact.check_expected, exact.__file__),
    "json_fields": NamedScorer(json_fields.score, json_fields.check_expected, json_fields.__file__),
}
