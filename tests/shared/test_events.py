"""Events on the wire: CloudEvents 1.0, additive changes only, anything else refused with a reason."""

from typing import Any

import msgspec
import pytest

from shared import topics
from shared.errors import Unusable
from shared.events import EVENTS, TOPIC_OF, AnswerServed, Event, FeedbackGiven, PlanChanged, decode, encode, key_of
from shared.topics import TOPICS

ANSWER = AnswerServed(
    answer_id="a1",
    workload="support-triage",
    version="support-triage@base-00000000",
    messages=[{"role": "user", "content": "Grüße 👋 \u0000 <script>"}],
    answer="{}",
)


def sample_of(event: type[Event]) -> Event:
    """An instance with a value of the right type in every required field."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(event):
        if field.required:
            fields[field.name] = {str: "x", int: 1, list[str]: ["x"]}.get(field.type, [])
    return event(**fields)


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.__name__)
def test_every_event_survives_the_wire(event: type[Event]) -> None:
    sent = sample_of(event)
    envelope, received = decode(encode(sent, "tester"))
    assert received == sent
    assert envelope.source == "ratchet/tester"
    assert EVENTS[envelope.type] is event


def test_text_survives_the_wire_as_it_was() -> None:
    assert decode(encode(ANSWER, "gateway"))[1] == ANSWER


def test_the_envelope_is_a_cloudevent() -> None:
    raw = msgspec.json.decode(encode(ANSWER, "gateway", "0190-my-id"))
    assert raw["specversion"] == "1.0"
    assert raw["id"] == "0190-my-id"
    assert raw["type"] == "ratchet.answer.served.v1"
    assert raw["dataschema"] == "urn:ratchet:ratchet.answer.served.v1"
    assert raw["datacontenttype"] == "application/json"
    assert raw["time"].endswith("Z")
    assert raw["data"]["answer_id"] == "a1"


def test_each_encoding_has_an_id_of_its_own() -> None:
    ids = [decode(encode(ANSWER, "gateway"))[0].id for _ in range(50)]
    assert len(set(ids)) == 50


def test_a_consumer_of_the_former_version_reads_the_next_one() -> None:
    raw = msgspec.json.decode(encode(ANSWER, "gateway"))
    raw["data"]["a_field_of_the_future"] = {"deep": [1]}
    raw["traceparent"] = "00-abc"
    assert decode(msgspec.json.encode(raw))[1] == ANSWER


def test_a_consumer_of_the_next_version_reads_the_former_one() -> None:
    """A field added since, here simulated by leaving out what has a default."""
    raw = msgspec.json.decode(encode(ANSWER, "gateway"))
    optional = [f.name for f in msgspec.structs.fields(AnswerServed) if not f.required]
    for name in optional:
        raw["data"].pop(name)
    assert decode(msgspec.json.encode(raw))[1] == ANSWER


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.__name__)
def test_every_event_has_a_topic_that_exists(event: type[Event]) -> None:
    assert TOPIC_OF[event] in {topic.name for topic in TOPICS}


def changed(**changes: Any) -> bytes:
    raw = msgspec.json.decode(encode(ANSWER, "gateway"))
    return msgspec.json.encode({**raw, **changes})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not a usable event"),
        (b"\xff\xfe", "not a usable event"),
        (b"[1, 2]", "not a usable event"),
        (b"{}", "missing required field"),
        (b'{"a":' * 50_000, "not a usable event"),
        (changed(type="ratchet.unheard.of.v1"), "older than its writer"),
        (changed(data={"answer_id": 5}), r"Expected `str`, got `int` - at `\$.answer_id`"),
        (changed(data=None), "not a usable event"),
        (changed(specversion="2.0"), "should be 1.0"),
    ],
)
def test_what_is_not_an_event_of_ours_is_unusable_with_the_reason(value: bytes, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        decode(value)


def test_an_answer_and_its_feedback_share_a_key() -> None:
    given = FeedbackGiven(feedback_id="f", answer_id="a1")
    assert key_of(ANSWER) == key_of(given) == "a1"


def test_workload_events_are_kept_in_order_by_workload_and_plans_by_themselves() -> None:
    for event in EVENTS.values():
        if TOPIC_OF[event] in (topics.CURATION, topics.JOBS):
            assert key_of(sample_of(event)) == "x"
    assert key_of(PlanChanged(plan_version=3)) == "plan"
