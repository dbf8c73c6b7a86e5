import re
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bus import MAX_RECORD_BYTES
from shared.events import TOPIC_OF, AnswerServed, ExampleCurated, encode, headers_of, key_of
from shared.topics import DAY_MS, TOPICS, broker_settings, differences

ANSWERS = TOPICS[0]
PAGE = Path(__file__).parents[2] / "docs" / "kafka.md"


def differing(partitions: int = ANSWERS.partitions, **settings: str) -> list[str]:
    changed = {name.replace("_", "."): value for name, value in settings.items()}
    return differences(ANSWERS, "staging.ratchet.answers", partitions, broker_settings(ANSWERS) | changed)


def test_every_event_has_a_topic_of_the_table() -> None:
    assert set(TOPIC_OF.values()) <= {topic.name for topic in TOPICS}


def test_a_topic_has_room_for_the_largest_record_and_keeps_it_as_long_as_the_table_says() -> None:
    for topic in TOPICS:
        settings = broker_settings(topic)
        assert int(settings["max.message.bytes"]) > MAX_RECORD_BYTES
        assert int(settings["retention.ms"]) == topic.retention_days * DAY_MS
        assert int(settings["segment.ms"]) < int(settings["retention.ms"])


def test_no_topic_is_compacted_because_facts_of_one_key_would_be_forgotten() -> None:
    """Two examples of a workload have one key: a compacted topic keeps the last of them only."""
    first, second = (
        ExampleCurated(example_id=id, correction_id=id, workload="w", split="train", group="g") for id in ("e1", "e2")
    )
    assert key_of(first) == key_of(second)
    assert {topic.cleanup for topic in TOPICS} == {"delete"}


def test_the_page_about_kafka_has_the_table() -> None:
    lines = ["| topic | partitions | kept | clean-up | largest record |", "|---|---|---|---|---|"]
    for topic in TOPICS:
        mib = int(broker_settings(topic)["max.message.bytes"]) / 2**20
        kept = f"{topic.retention_days} d"
        lines.append(f"| `{topic.name}` | {topic.partitions} | {kept} | {topic.cleanup} | {mib:.2f} MiB |")
    found = re.search(r"<!-- kept -->\n(.*?)\n<!-- /kept -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1].splitlines() == lines


def test_a_topic_as_the_table_says_differs_in_nothing() -> None:
    assert differing() == []


def test_a_topic_with_more_partitions_is_welcome() -> None:
    assert differing(partitions=24) == []


def test_fewer_partitions_are_told_with_the_command_that_adds_them() -> None:
    (said,) = differing(partitions=1)
    assert "staging.ratchet.answers has 1 partitions, not 6" in said
    assert "kafka-topics --alter --topic staging.ratchet.answers --partitions 6" in said


@pytest.mark.parametrize(
    ("setting", "value", "consequence"),
    [
        ("cleanup_policy", "compact", "forgets all but the last fact of a key"),
        ("retention_ms", "3600000", "earlier or later than this deployment says"),
        ("retention_bytes", "1073741824", "forgets records that nobody has read"),
        ("max_message_bytes", "1048588", "larger records go to the dead letters"),
        ("message_timestamp_type", "CreateTime", "wrong clock decides"),
    ],
)
def test_a_setting_that_differs_is_told_with_what_it_means(setting: str, value: str, consequence: str) -> None:
    (said,) = differing(**{setting: value})
    name = setting.replace("_", ".")
    assert f"has {name}={value}, not {broker_settings(ANSWERS)[name]}" in said
    assert consequence in said
    assert "left as it is" in said


def test_a_setting_the_broker_does_not_tell_is_no_difference() -> None:
    assert differences(ANSWERS, ANSWERS.name, ANSWERS.partitions, {}) == []


def test_every_setting_of_the_table_has_a_consequence() -> None:
    compacted = replace(ANSWERS, cleanup="compact", retention_days=1)
    assert all(differences(compacted, "t", 6, dict.fromkeys(broker_settings(ANSWERS), "other")))


def test_the_headers_of_an_event_are_those_of_its_envelope() -> None:
    value = encode(AnswerServed(answer_id="a", workload="w", version="v", messages=[], answer="é"), "gateway", "id-1")
    headers = dict(headers_of(value))
    assert headers["content-type"].startswith(b"application/cloudevents+json")
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"] == b"id-1"
    assert headers["ce_source"] == b"ratchet/gateway"
    assert headers["ce_type"] == b"ratchet.answer.served.v1"


@pytest.mark.parametrize("value", [b"", b"1", b"\xff\xfe", b'{"id": 1}', b"[" * 2000])
def test_what_is_no_event_has_no_headers(value: bytes) -> None:
    assert headers_of(value) == []
