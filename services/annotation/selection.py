"""What is worth an expert's minute. Pure: nothing here reads a clock, a table or a random number.

In holdout groups every sample is a candidate whatever its answer, and the daily share of the budget is filled in the
order of a hash of the answer's id: signals and feedback change nothing, neither whether a sample is shown nor when.
A holdout picked by what failed makes any other model look better (tests/loop/test_holdout_is_unbiased.py).

In the other groups a sample needs a reason: negative feedback, an invalid answer, low confidence, or the random audit,
in this order of priority. The daily budget is divided holdout_share : 1 - holdout_share like the traffic itself, so the
holdout grows with the budget; neither side may use what the other leaves, since what is left over depends on failures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.annotation.grouping import Split, share_of
from shared.workloads import Workload


class Signal(StrEnum):
    """Why an answer is worth a look, the strongest first; the desk shows the words of SIGNAL_WORDS."""

    NEGATIVE_FEEDBACK = "negative_feedback"
    SCHEMA_INVALID = "schema_invalid"
    LOW_CONFIDENCE = "low_confidence"


SIGNAL_WORDS = {
    Signal.NEGATIVE_FEEDBACK: "negative feedback",
    Signal.SCHEMA_INVALID: "the answer breaks its schema",
    Signal.LOW_CONFIDENCE: "low confidence",
}
NO_SIGNAL_WORDS = "random audit"
_LEVELS = len(Signal) + 1  # a level for each signal, and one for the random audit


@dataclass(frozen=True, slots=True)
class Opinion:
    """One end user's feedback, as far as selection looks at it."""

    thumb: str | None
    score: float | None  # 0-1
    suggested_answer: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    answer_id: str
    answer: str
    split: Split
    straddles: bool  # resembles prompts of both splits
    cut_off: bool  # the client left, or the model server broke off: not what the model would have said
    schema_valid: bool
    confidence: float | None  # 0-1, geometric mean of the tokens' probabilities
    opinions: Sequence[Opinion]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A nominated sample that could go to the desk now."""

    answer_id: str
    question: str
    text_id: str


def confidence_of(mean_logprob: float | None) -> float | None:
    if mean_logprob is None or not math.isfinite(mean_logprob):
        return None
    return min(1.0, math.exp(min(0.0, mean_logprob)))


def signals_of(seen: Observed, workload: Workload) -> list[Signal]:
    """What stands out, the strongest first. The same for both splits: it is shown to people, it does not pick."""
    found = []
    if any(_is_negative(opinion, seen.answer) for opinion in seen.opinions):
        found.append(Signal.NEGATIVE_FEEDBACK)
    if not seen.schema_valid:
        found.append(Signal.SCHEMA_INVALID)
    if seen.confidence is not None and seen.confidence < workload.selection.low_confidence:
        found.append(Signal.LOW_CONFIDENCE)
    return found


def nominate(seen: Observed, workload: Workload) -> float | None:
    """The sample's place in the queue, in [0, 1), smallest first; None: not worth an expert's minute.

    Holdout places are spread evenly over the whole range by a hash of the id, so a queue that is never worked off
    leaves out training samples of low priority and a random part of the holdout.
    """
    if seen.cut_off or seen.straddles:
        return None
    lot = share_of(f"lot\0{seen.answer_id}")
    if seen.split == "holdout":
        return lot
    signals = signals_of(seen, workload)
    if signals:
        return (list(Signal).index(signals[0]) + lot) / _LEVELS
    if share_of(f"audit\0{seen.answer_id}") < workload.selection.audit_share:
        return (len(Signal) + lot) / _LEVELS
    return None


def daily_quota(workload: Workload, split: Split) -> int:
    """Items of one split that may go to the desk in a UTC day; each side gets one at least."""
    budget = workload.selection.daily_budget
    holdout = min(max(1, round(budget * workload.gate.holdout_share)), max(1, budget - 1))
    return holdout if split == "holdout" else max(1, budget - holdout)


def first_recent_day(workload: Workload, today: str) -> str:
    """The first UTC day that counts as recent: a question last shown before it may come again, whatever was answered.

    House rules change; asked again, the question gets the answer that is right now. Only the day of the showing
    decides, on both sides of the border, so the holdout stays picked by nobody.
    """
    return (date.fromisoformat(today) - timedelta(days=workload.selection.revisit_days - 1)).isoformat()


def choose(candidates: Sequence[Candidate], room: int) -> list[Candidate]:
    """The first of each prompt, in the order given, as many as there is room for: near-duplicates go one by one."""
    chosen: list[Candidate] = []
    prompts: set[str] = set()
    for candidate in candidates:
        if len(chosen) >= room:
            break
        if candidate.text_id not in prompts:
            prompts.add(candidate.text_id)
            chosen.append(candidate)
    return chosen


def words_of(signals: Sequence[str]) -> str:
    """What the desk says about why this item is here; it says the same in both splits."""
    known = [SIGNAL_WORDS[Signal(s)] for s in signals if s in Signal.__members__.values()]
    return ", ".join(known) or NO_SIGNAL_WORDS


def _is_negative(opinion: Opinion, answer: str) -> bool:
    if opinion.thumb == "down" or (opinion.score is not None and opinion.score < 0.5):
        return True
    return opinion.suggested_answer is not None and opinion.suggested_answer.strip() != answer.strip()
