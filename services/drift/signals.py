"""What is watched of a workload's answers, and how each figure is read off one answer. Pure.

Only what AnswerServed, FeedbackGiven and SampleCorrected carry, or what a line of a file carries under the same name.
The edit distance of corrections is not among them: a correction's text never crosses the bus.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.drift.text_classifier import MOST_CHARACTERS


class Kind(StrEnum):
    NUMBER = "number"  # compared by its distribution
    RATE = "rate"  # yes or no, compared by its share
    CATEGORY = "category"
    TEXT = "text"


class Side(StrEnum):
    INPUT = "input"  # what people ask; stays the same over a promotion
    OUTPUT = "output"  # what the model makes of it; a new version has its own
    PEOPLE = "people"  # what people say to it


@dataclass(frozen=True, slots=True)
class Signal:
    name: str
    kind: Kind
    side: Side
    title: str
    unit: str = ""


SIGNALS = {
    signal.name: signal
    for signal in (
        Signal("prompt_text", Kind.TEXT, Side.INPUT, "What is asked"),
        Signal("prompt_tokens", Kind.NUMBER, Side.INPUT, "Prompt length", "tokens"),
        Signal("prompt_characters", Kind.NUMBER, Side.INPUT, "Prompt length", "characters"),
        Signal("answer_tokens", Kind.NUMBER, Side.OUTPUT, "Answer length", "tokens"),
        Signal("answer_characters", Kind.NUMBER, Side.OUTPUT, "Answer length", "characters"),
        Signal("finish_reason", Kind.CATEGORY, Side.OUTPUT, "Finish reason"),
        Signal("schema_valid", Kind.RATE, Side.OUTPUT, "Answers within their schema"),
        Signal("refusal", Kind.RATE, Side.OUTPUT, "Refusals"),
        Signal("repetition", Kind.NUMBER, Side.OUTPUT, "Repetition", "share of repeated word triples"),
        Signal("latency_seconds", Kind.NUMBER, Side.OUTPUT, "Latency", "seconds"),
        Signal("first_token_seconds", Kind.NUMBER, Side.OUTPUT, "Time to first token", "seconds"),
        Signal("mean_logprob", Kind.NUMBER, Side.OUTPUT, "Mean log probability", "nats"),
        Signal("feedback", Kind.RATE, Side.PEOPLE, "Answers with feedback"),
        Signal("negative_feedback", Kind.RATE, Side.PEOPLE, "Negative among feedback"),
        Signal("correction", Kind.RATE, Side.PEOPLE, "Corrected among reviewed"),
    )
}

Values = dict[str, float | bool | str]

_TRIPLE = 3
_MOST_WORDS = 2_000
_READ = 400  # a refusal says so at its beginning
# English, as models of the time put it. A workload in another language says `refusal` in its lines itself.
_REFUSAL = re.compile(
    r"\bI(?:'m| am) (?:sorry|afraid)\b.{0,40}\b(?:can(?:'t|not| not)|unable|won't|not able)\b"
    r"|\bI(?: really)? (?:can(?:'t|not| not)|won't|(?:am|'m) (?:unable|not able) to)\s+"
    r"(?:help|assist|provide|comply|answer|do that|fulfil|support|share|discuss|continue)"
    r"|\bI must (?:decline|refuse)\b|\bas an AI\b.{0,60}\bcan(?:'t|not| not)\b",
    re.IGNORECASE | re.DOTALL,
)


def of_prompt(text: str) -> Values:
    return {"prompt_text": text[:MOST_CHARACTERS], "prompt_characters": float(len(text))}


def of_answer(text: str) -> Values:
    return {
        "answer_characters": float(len(text)),
        "refusal": is_refusal(text),
        "repetition": repetition(text),
    }


def is_refusal(text: str) -> bool:
    return _REFUSAL.search(text[:_READ].replace("’", "'")) is not None


def repetition(text: str) -> float:
    """Of the answer's runs of three words, the share that stood in it before; 0 for fewer than four words."""
    words = text.split()[:_MOST_WORDS]
    runs = len(words) - _TRIPLE + 1
    if runs < 2:
        return 0.0
    return 1 - len({tuple(words[i : i + _TRIPLE]) for i in range(runs)}) / runs


def is_negative(thumb: str | None, score: float | None) -> bool | None:
    """None for feedback that is no verdict: a comment or a suggested answer alone."""
    if thumb is not None:
        return thumb == "down"
    return None if score is None else score < 0.5


def last_question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message of the user: the rest of a prompt is the system's or was asked before."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            found = [part.get("text") for part in parts if isinstance(part, Mapping)]
            return "\n".join(text for text in found if isinstance(text, str))
    return ""


def number(value: Any) -> float | None:
    """A finite number, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        known = float(value)
    except OverflowError:
        return None
    return known if math.isfinite(known) else None
