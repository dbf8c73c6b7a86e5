"""An item as a record of the desk: what an annotator sees of it. Pure.

Every text that was captured is inert Markdown (inert_text.py), except the suggestion: that is what the annotator
edits and sends back, so it stays as it is, or is left out where it is too long to be edited whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from services.annotation.desk import Item
from services.annotation.inert_text import inert

ROLES = ("system", "user", "assistant", "tool", "developer")
MOST_MESSAGES = 200  # Argilla takes 500
MOST_MESSAGE_CHARACTERS = 4_000  # of a message: Argilla takes 20,000, and a mark becomes up to six
MOST_RECORD_CHARACTERS = 60_000  # of a conversation, shared among its messages
MOST_ANSWER_CHARACTERS = 30_000
MOST_IDEAL_BYTES = 100_000  # what the local desk takes too
MOST_NOTE_CHARACTERS = 2_000
MOST_TERM_BYTES = 200  # an index term over 32,766 bytes would be lost in silence
MOST_BATCH_RECORDS = 100
MOST_BATCH_BYTES = 4_000_000

Record = dict[str, Any]
Thing = TypeVar("Thing")


def record_of(item: Item, question_ids: Mapping[str, str], opinions: str | None = None) -> Record:
    """question_ids: of the dataset it goes to. opinions: what the annotators said, for a reviewer."""
    fields: dict[str, Any] = {
        "conversation": _conversation(item),
        "answer": inert(item.answer, MOST_ANSWER_CHARACTERS),
        "notes": _notes(item),
    }
    if opinions is not None:
        fields["opinions"] = inert(opinions, MOST_ANSWER_CHARACTERS)
    suggestions = []
    if item.ideal and len(item.ideal.encode("utf-8", "replace")) <= MOST_IDEAL_BYTES:
        suggestions.append({"question_id": question_ids["ideal"], "value": item.ideal})
    return {
        "external_id": item.sample_id,
        "fields": fields,
        "metadata": _metadata(item),
        "suggestions": suggestions,
    }


def batches(records: Sequence[Record], size_of: Mapping[str, int]) -> Iterator[list[Record]]:
    """size_of: bytes of each record on the wire, by external id."""
    batch: list[Record] = []
    held = 0
    for record in records:
        size = size_of[record["external_id"]]
        if batch and (len(batch) == MOST_BATCH_RECORDS or held + size > MOST_BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(record)
        held += size
    if batch:
        yield batch


def halves(batch: Sequence[Thing]) -> tuple[Sequence[Thing], Sequence[Thing]]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _conversation(item: Item) -> list[dict[str, str]]:
    messages = [(_role(m.role), m.content) for m in item.messages]
    if len(messages) > MOST_MESSAGES:
        left_out = len(messages) - MOST_MESSAGES + 1
        note = ("system", f"({left_out} messages are not shown here)")
        messages = [messages[0], note, *messages[-(MOST_MESSAGES - 2) :]]
    most = min(MOST_MESSAGE_CHARACTERS, max(200, MOST_RECORD_CHARACTERS // max(1, len(messages))))
    shown = [{"role": role, "content": inert(content, most)} for role, content in messages]
    return shown or [{"role": "user", "content": inert("(nothing was asked)", most)}]


def _role(role: str) -> str:
    return role if role in ROLES else "other"


def _notes(item: Item) -> str:
    return "  \n".join(inert(line, MOST_NOTE_CHARACTERS) for line in _said(item))


def _said(item: Item) -> Iterable[str]:
    yield f"Picked for: {item.signal}"
    if item.confidence is not None:
        yield f"The model was {item.confidence:.0%} sure of each word on average"
    yield from (f"Breaks the schema: {error}" for error in item.schema_errors)
    for feedback in item.feedback[:10]:
        words = [f"thumb {feedback.thumb}" if feedback.thumb else ""]
        words.append(f"score {feedback.score:g}" if feedback.score is not None else "")
        words.append(f"comment: {feedback.comment}" if feedback.comment else "")
        words.append(f"would rather have read: {feedback.suggested_answer}" if feedback.suggested_answer else "")
        yield "The user said: " + ", ".join(word for word in words if word)


def _metadata(item: Item) -> dict[str, Any]:
    terms = {"version": item.version, "signal": item.signal, "sample": item.sample_id}
    metadata: dict[str, Any] = {name: _term(value) for name, value in terms.items() if value}
    if item.confidence is not None:
        metadata["confidence"] = round(item.confidence, 4)
    return metadata


def _term(value: str) -> str:
    return value.encode("utf-8", "replace")[:MOST_TERM_BYTES].decode("utf-8", "ignore")
