"""What a desk is: the place where experts see items and give verdicts, whichever software shows it.

Annotation decides what goes there (selection) and what a verdict is worth (curation); a desk only carries both. An
item never tells an expert whether it is for the holdout.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from services.annotation.curation import Reason, VerdictWord
from services.annotation.grouping import text_of
from services.annotation.selection import confidence_of, words_of
from services.annotation.tables import CorrectionRow, FeedbackRow, SampleRow


class Message(BaseModel):
    role: str
    content: str


class Feedback(BaseModel):
    thumb: str | None
    score: float | None
    comment: str | None
    suggested_answer: str | None


class Item(BaseModel):
    """What an expert sees of a sample."""

    sample_id: str
    workload: str
    version: str
    messages: list[Message]
    answer: str
    ideal: str  # the text to start editing from
    signal: str  # why it is here
    confidence: float | None  # 0-1
    served_at: str
    feedback: list[Feedback]
    schema_errors: list[str]
    state: Literal["waiting", "done"]
    verdict: str | None  # the last one


@dataclass(frozen=True, slots=True)
class Source:
    """The response behind a verdict, at a desk that keeps its own; the same response may change."""

    response_id: str
    changed_at: str  # by the desk's clock: a later one is another verdict
    final: bool = False  # a reviewer's, after annotators disagreed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an expert said of an item."""

    sample_id: str
    verdict: VerdictWord
    ideal: str | None
    reasons: frozenset[Reason]
    annotator: str
    comment: str | None
    source: Source | None = None


class Desk(Protocol):
    def push(self, items: Sequence[Item]) -> Mapping[str, str]:
        """Shows the items; those that can never be shown, by sample id, with why.

        Twice: no second item. Unavailable: nothing is lost, they are pushed again later.
        """
        ...

    def push_for_review(self, items: Sequence[tuple[Item, str]]) -> Mapping[str, str]:
        """Items that annotators disagree about, each with what they said; otherwise as `push`."""
        ...

    def pull(self) -> Sequence[Verdict]:
        """Verdicts given since, oldest first; it may repeat some, which changes nothing. Raises Unavailable."""
        ...


def item_of(sample: SampleRow, feedback: Sequence[FeedbackRow], standing: CorrectionRow | None) -> Item:
    """standing: the last verdict on the sample."""
    corrected = standing.ideal if standing is not None else None
    return Item(
        sample_id=sample.answer_id,
        workload=sample.workload,
        version=sample.version,
        messages=[_message(m) for m in json.loads(sample.messages)],
        answer=sample.answer,
        ideal=sample.answer if corrected is None else corrected,
        signal=words_of(json.loads(sample.signals)),
        confidence=confidence_of(sample.mean_logprob),
        served_at=sample.served_at,
        feedback=[Feedback.model_validate(row, from_attributes=True) for row in feedback],
        schema_errors=json.loads(sample.schema_errors),
        state="done" if sample.state == "done" else "waiting",
        verdict=standing.verdict if standing is not None else None,
    )


def _message(message: dict[str, Any]) -> Message:
    parts = [text_of(message.get("content"))]
    if message.get("tool_calls"):
        parts.append(json.dumps(message["tool_calls"], ensure_ascii=False, indent=1))
    return Message(role=str(message.get("role") or "?"), content="\n".join(part for part in parts if part))
