"""The facts that travel between services, and their CloudEvents 1.0 envelope.

Names are past tense; fields are only ever added, each with a default, so a consumer of the former version reads the
next one. Text crosses the bus once, in AnswerServed and FeedbackGiven; every other event carries ids, URIs and hashes.
Decoding what is not an event of ours raises Unusable with the reason.
"""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared import topics
from shared.errors import Unusable
from shared.ids import uuid7


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact. `workload` is empty only where the writer cannot know it."""


class AnswerServed(Event, frozen=True, kw_only=True):
    answer_id: str
    workload: str
    version: str  # which model version answered
    messages: list[dict[str, Any]]  # as the model saw them, the workload's system prompt included
    answer: str  # the text of the first choice; "" when the model only called tools
    finish_reason: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)  # the request without messages and model
    tool_calls: list[dict[str, Any]] = msgspec.field(default_factory=list)
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    mean_logprob: float | None = None  # natural log, mean over answer tokens; only when the request asked for logprobs
    conversation: str | None = None
    group: str | None = None  # metadata.group: what the application says belongs together
    user: str | None = None
    stream: bool = False
    client_abort: bool = False  # the client left; `answer` is what had been sent
    latency_seconds: float = 0.0
    first_token_seconds: float | None = None
    served_at: str = ""  # RFC 3339, UTC


class FeedbackGiven(Event, frozen=True, kw_only=True):
    feedback_id: str
    answer_id: str
    thumb: str | None = None  # "up" or "down"
    score: float | None = None  # 0-1
    comment: str | None = None
    suggested_answer: str | None = None
    given_at: str = ""


class SampleCorrected(Event, frozen=True, kw_only=True):
    correction_id: str
    sample_id: str
    workload: str
    verdict: str  # "good", "fix" or "discard"


class ExampleCurated(Event, frozen=True, kw_only=True):
    example_id: str
    correction_id: str
    workload: str
    split: str  # "train" or "holdout", decided once by the group
    group: str
    supersedes: str | None = None  # the example of the same prompt that retired in favour of this one


class ExampleRetired(Event, frozen=True, kw_only=True):
    """It teaches no more, and no other took its place; where one did, that one's ExampleCurated says so."""

    example_id: str
    workload: str
    why: str  # "discarded" or "knowledge_gap", what the later verdict found


class ExampleRejected(Event, frozen=True, kw_only=True):
    correction_id: str
    workload: str
    reason: str


class KnowledgeGapFound(Event, frozen=True, kw_only=True):
    correction_id: str
    workload: str


class JobStarted(Event, frozen=True, kw_only=True):
    job_id: str
    kind: str  # "train" or "evaluate"
    workload: str
    attempt: int = 1


class CandidateTrained(Event, frozen=True, kw_only=True):
    job_id: str
    workload: str
    version: str
    run_uri: str  # the sealed run folder; the adapter is in its `adapter/`
    adapter_sha256: str
    base: str
    preset: str
    snapshot_id: str
    snapshot_uri: str


class VersionsEvaluated(Event, frozen=True, kw_only=True):
    job_id: str
    workload: str
    evaluation_uri: str
    versions: list[str]  # in the order asked for


class JobFailed(Event, frozen=True, kw_only=True):
    job_id: str
    kind: str
    workload: str
    reason: str
    attempts: int
    versions: list[str] = msgspec.field(default_factory=list)  # of an evaluation


class CandidateJudged(Event, frozen=True, kw_only=True):
    workload: str
    version: str
    champion: str
    verdict: str  # "PROMOTE", "REJECT" or "INCONCLUSIVE"
    reasons: list[str]
    report_uri: str


class StageChanged(Event, frozen=True, kw_only=True):
    workload: str
    version: str
    before: str
    after: str
    who: str
    why: str


class PlanChanged(Event, frozen=True, kw_only=True):
    plan_version: int


def _wire_name(event: type[Event]) -> str:
    """ExampleCurated -> ratchet.example.curated.v1"""
    return "ratchet." + re.sub(r"(?<!^)([A-Z])", r".\1", event.__name__).lower() + ".v1"


EVENTS: dict[str, type[Event]] = {_wire_name(event): event for event in Event.__subclasses__()}
TYPE_OF = {event: name for name, event in EVENTS.items()}

TOPIC_OF: dict[type[Event], str] = {
    AnswerServed: topics.ANSWERS,
    FeedbackGiven: topics.FEEDBACK,
    SampleCorrected: topics.CURATION,
    ExampleCurated: topics.CURATION,
    ExampleRetired: topics.CURATION,
    ExampleRejected: topics.CURATION,
    KnowledgeGapFound: topics.CURATION,
    JobStarted: topics.JOBS,
    CandidateTrained: topics.JOBS,
    VersionsEvaluated: topics.JOBS,
    JobFailed: topics.JOBS,
    CandidateJudged: topics.PROMOTION,
    StageChanged: topics.PROMOTION,
    PlanChanged: topics.PROMOTION,
}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0, JSON event format. `data` stays raw until the type is known."""

    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    specversion: str = "1.0"
    dataschema: str = ""
    datacontenttype: str = "application/json"


_HEADERS = ("specversion", "id", "source", "type", "time", "dataschema")

_encoder = msgspec.json.Encoder()
_envelope_decoder = msgspec.json.Decoder(Envelope)
_decoders = {name: msgspec.json.Decoder(event) for name, event in EVENTS.items()}


def encode(event: Event, source: str, event_id: str | None = None) -> bytes:
    """The event in its envelope. source: the service's name; event_id: kept when a caller already has one."""
    name = TYPE_OF[type(event)]
    return _encoder.encode(
        Envelope(
            id=event_id or uuid7(),
            source=f"ratchet/{source}",
            type=name,
            time=utc_now(),
            dataschema=f"urn:ratchet:{name}",
            data=msgspec.Raw(_encoder.encode(event)),
        )
    )


def decode(value: bytes) -> tuple[Envelope, Event]:
    """The envelope and its event; Unusable when it is not JSON, no CloudEvent, of an unknown type or misshapen."""
    try:
        envelope = _envelope_decoder.decode(value)
        if not envelope.specversion.startswith("1."):
            raise Unusable(f"CloudEvents {envelope.specversion!r} is not known here; it should be 1.0")
        decoder = _decoders.get(envelope.type)
        if decoder is None:
            raise Unusable(f"event type {envelope.type!r} is not known here; is this consumer older than its writer?")
        return envelope, decoder.decode(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable(f"not a usable event: {error}") from error


def headers_of(value: bytes) -> list[tuple[str, bytes]]:
    """CloudEvents' headers for a record of Kafka, to route or filter by without parsing; none when it is no event."""
    try:
        envelope = _envelope_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    named = {name: getattr(envelope, name) for name in _HEADERS}
    content_type = ("content-type", b"application/cloudevents+json; charset=UTF-8")
    return [content_type, *((f"ce_{name}", text.encode("utf-8", "replace")) for name, text in named.items() if text)]


def key_of(event: Event) -> str:
    """The partition key: what belongs to one answer, workload or job stays in order."""
    match event:
        case AnswerServed() | FeedbackGiven():
            return event.answer_id
        case PlanChanged():
            return "plan"
        case _:
            return str(getattr(event, "workload", ""))


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
