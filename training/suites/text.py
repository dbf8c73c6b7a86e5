"""Free text by likeness to the expected one: chrF (sacrebleu), ROUGE-L (rouge-score), edits (rapidfuzz), length.

All four are 0-1 and stand in the details; the option `measure` says which one is the score. `edit` is 1 minus the
Levenshtein distance over the longer text's length; `length` the shorter text's length over the longer one's. An answer
is right (`exact`) from the score `right_from` on. Words of ROUGE-L are runs of letters and digits of any script: the
package's own tokenizer knows the Latin ones only.
"""

import re
from typing import Any

from shared.errors import Unusable
from training.suites.exact import even
from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer

PACKAGES = ("sacrebleu", "rouge-score", "rapidfuzz")
MOST_CHARACTERS = 20_000  # of an answer that is compared; ROUGE-L takes quadratic time

_WORD = re.compile(r"\w+")
_DIGITS = 6


class _Words:
    """A tokenizer as rouge-score wants it."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.casefold())


def make(options: Options, schema_check: SchemaCheck | None) -> Scorer:
    try:  # slow to import: only where this scorer is used
        from rapidfuzz.distance import Levenshtein
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise Unusable(
            f"the scorer text needs {', '.join(PACKAGES)}, of which one is not installed here: {error}"
        ) from error
    chrf, rouge = CHRF(), RougeScorer(["rougeL"], tokenizer=_Words())
    measure, right_from = str(options["measure"]), float(options["right_from"])

    def scorer(attempt: Attempt) -> Score:
        expected, answer = (even(text)[:MOST_CHARACTERS] for text in (attempt.expected, attempt.answer))
        found: dict[str, Any] = {
            "chrf": chrf.sentence_score(answer, [expected]).score / 100 if answer else 0.0,
            "rouge_l": rouge.score(expected, answer)["rougeL"].fmeasure,
            "edit": 1.0 - Levenshtein.normalized_distance(expected, answer),
            "length": _length_ratio(expected, answer),
        }
        rounded = {name: min(1.0, round(value, _DIGITS)) for name, value in found.items()}
        rounded["characters"] = len(attempt.answer)
        value = float(rounded[measure])
        return Score(value, value >= right_from, details=rounded)

    return scorer


def _length_ratio(expected: str, answer: str) -> float:
    longer = max(len(expected), len(answer))
    return min(len(expected), len(answer)) / longer if longer else 1.0
