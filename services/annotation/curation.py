"""Whether a correction may become an example: the decision alone, without any I/O.

The same correction, sample and neighbours give the same outcome for ever. What people can mend on the spot (empty,
unchanged, invalid) is `slip_of`, so a desk that can answer at once says it before the correction is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from services.annotation.answer_schema import schema_errors
from services.annotation.grouping import folded, numbers_in, shingles_of, similarities

NEAR_DUPLICATE = 0.95  # Jaccard of word 3-grams, above which the same ideal teaches nothing new

VerdictWord = Literal["good", "fix", "discard"]
Kind = Literal["good", "fix"]


class Reason(StrEnum):
    """Why an expert changed an answer; the desk shows the labels."""

    FORMAT = "format"
    TONE = "tone"
    WRONG = "wrong"
    KNOWLEDGE = "knowledge"


REASON_LABELS = {
    Reason.FORMAT: "format",
    Reason.TONE: "tone",
    Reason.WRONG: "wrong",
    Reason.KNOWLEDGE: "missing or stale knowledge",
}


class Refusal(StrEnum):
    """Why a correction cannot teach: the word in events and figures; people read REFUSAL_WORDS."""

    EMPTY = "empty"
    UNCHANGED = "unchanged"
    EDITED = "edited"
    SCHEMA_INVALID = "schema_invalid"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    NOT_TEXT = "not_text"


REFUSAL_WORDS = {
    Refusal.EMPTY: "the ideal answer is empty; write one, or discard the item",
    Refusal.UNCHANGED: 'the verdict is "fix", but the text is what the model said; edit it, or say "good"',
    Refusal.EDITED: 'the verdict is "good", but the text was edited; say "fix" to keep the edit',
    Refusal.SCHEMA_INVALID: "the ideal answer does not keep to the workload's answer schema",
    Refusal.DUPLICATE: "this prompt already has this ideal answer",
    Refusal.NEAR_DUPLICATE: "an almost equal prompt already has this ideal answer",
    Refusal.NOT_TEXT: "this cannot be taught as text; discard the item",
}


@dataclass(frozen=True, slots=True)
class Correction:
    verdict: VerdictWord
    ideal: str | None  # normalised; None where the verdict needs none
    reasons: frozenset[Reason]
    question: str  # identity of what was asked
    prompt: str  # what was asked, as text
    answer: str  # what the model said
    not_text: str | None = None  # why the conversation, or the answer called good, is more than text


@dataclass(frozen=True, slots=True)
class Taught:
    """An active example of the same group."""

    example_id: str
    question: str
    prompt: str
    ideal: str


@dataclass(frozen=True, slots=True)
class Accepted:
    kind: Kind
    ideal: str
    retires: str | None  # the example of the same prompt that this one supersedes


@dataclass(frozen=True, slots=True)
class Refused:
    why: Refusal
    details: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        return "; ".join([REFUSAL_WORDS[self.why], *self.details])


@dataclass(frozen=True, slots=True)
class KnowledgeGap:
    """Facts belong to retrieval: this correction goes to the backlog, never into weights."""

    retires: str | None  # what was taught about this prompt before


@dataclass(frozen=True, slots=True)
class Discarded:
    """Not an error: the expert found that nothing is to be learned here."""


Outcome = Accepted | Refused | KnowledgeGap | Discarded


def curate(correction: Correction, neighbours: Iterable[Taught], schema: dict[str, Any] | None) -> Outcome:
    """The first objection wins; a new answer to the same prompt supersedes the former: house rules change.

    neighbours: active examples of the same group; those with the same question or the same ideal are enough.
    """
    known = list(neighbours)
    former = next((taught for taught in known if taught.question == correction.question), None)
    if Reason.KNOWLEDGE in correction.reasons:
        return KnowledgeGap(former.example_id if former else None)
    if correction.verdict == "discard":
        return Discarded()
    if slip := slip_of(correction, schema):
        return slip
    ideal = ideal_of(correction)
    if former is not None and former.ideal == ideal:
        return Refused(Refusal.DUPLICATE)
    # A changed answer is never refused for its neighbours: the former one would go on teaching.
    if former is None and any(_is_nearly(correction, ideal, taught) for taught in known):
        return Refused(Refusal.NEAR_DUPLICATE)
    kind: Kind = "good" if correction.verdict == "good" else "fix"
    return Accepted(kind, ideal, former.example_id if former else None)


def slip_of(correction: Correction, schema: dict[str, Any] | None) -> Refused | None:
    """What the expert can mend at once; None when there is nothing of the kind."""
    if correction.verdict == "discard" or Reason.KNOWLEDGE in correction.reasons:
        return None
    if correction.not_text is not None:
        return Refused(Refusal.NOT_TEXT, (correction.not_text,))
    answer, ideal = normalised(correction.answer), ideal_of(correction)
    if correction.verdict == "good" and correction.ideal is not None and correction.ideal.strip() != answer.strip():
        return Refused(Refusal.EDITED)
    if not ideal.strip():
        return Refused(Refusal.EMPTY)
    if correction.verdict == "fix" and ideal.rstrip() == answer.rstrip():
        return Refused(Refusal.UNCHANGED)
    errors = schema_errors(ideal, schema)
    return Refused(Refusal.SCHEMA_INVALID, tuple(errors)) if errors else None


def ideal_of(correction: Correction) -> str:
    """What a model should have said; for "good" that is what it did say."""
    return normalised(correction.answer) if correction.verdict == "good" else (correction.ideal or "")


def normalised(text: str) -> str:
    """Line ends as \\n and none at the end: an editor that adds one has changed nothing."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _is_nearly(correction: Correction, ideal: str, taught: Taught) -> bool:
    """Prompts that differ in a number are different questions, however alike they look."""
    if taught.ideal != ideal or numbers_in(taught.prompt) != numbers_in(correction.prompt):
        return False
    [score] = similarities(shingles_of(folded(taught.prompt)), [shingles_of(folded(correction.prompt))])
    return score >= NEAR_DUPLICATE
