"""Topics on a real broker: made from one table, read by Kafka's own tools, replayed."""

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource
from sqlalchemy import text

from services.annotation.consumer import LISTENS_TO, handlers_of
from services.cli.demo.scenario import WORKLOAD, write_scenario
from shared.bus import Bus, Outgoing, open_bus
from shared.consumer import ConsumerLoop
from shared.db import open_database, reading
from shared.events import TOPIC_OF, AnswerServed, Event, FeedbackGiven, encode, key_of
from shared.topics import ANSWERS, TOPICS, broker_settings
from shared.workloads import read_deployment
from tests.databases import make_tables
from tests.real.kafka.broker import Broker
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

NOW = "2026-01-02T03:04:05.000000Z"
TABLES = ("samples", "feedback", "prompt_groups", "prompts", "outbox")


@pytest.fixture
def elsewhere(servers: RunningStack) -> Iterator[Broker]:
    broker = Broker(servers)
    yield broker
    broker.close()


@pytest.fixture
def bus(broker: Broker) -> Iterator[Bus]:
    bus = open_bus(broker.url)
    bus.ensure_topics()
    yield bus
    bus.close()


def test_topics_are_made_as_the_table_says(broker: Broker, bus: Bus) -> None:
    found = _as_kept(broker)
    for topic in TOPICS:
        kept = found[broker.prefix + topic.name]
        assert {name: kept[name] for name in broker_settings(topic)} == broker_settings(topic)
    admin = broker.admin()
    described = admin.describe_topics([broker.prefix + topic.name for topic in TOPICS])
    admin.close()
    partitions = {topic["name"].removeprefix(broker.prefix): len(topic["partitions"]) for topic in described}
    assert partitions == {topic.name: topic.partitions for topic in TOPICS}


def test_a_topic_that_exists_otherwise_is_left_alone_and_told_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    name = broker.prefix + ANSWERS
    admin = broker.admin()
    admin.create_topics({name: {"num_partitions": 2, "configs": {"retention.ms": "3600000"}}})
    admin.close()
    bus = open_bus(broker.url)
    with caplog.at_level(logging.WARNING, "shared.kafka_bus"):
        bus.ensure_topics()
        bus.ensure_topics()
    bus.close()
    assert _as_kept(broker)[name]["retention.ms"] == "3600000"
    assert caplog.text.count(f"topic {name} has retention.ms=3600000, not 1209600000") == 1
    assert caplog.text.count(f"topic {name} has 2 partitions, not 6") == 1


def test_kafka_s_own_tools_read_our_topics(broker: Broker, bus: Bus) -> None:
    event = _answer(7)
    value = encode(event, "gateway")
    bus.publish([Outgoing(ANSWERS, key_of(event), value)])
    where = ["--bootstrap-server", broker.address, "--topic", broker.prefix + ANSWERS]
    described = broker.tool("TopicCommand", "--describe", *where)
    assert "PartitionCount: 6" in described
    assert "retention.ms=1209600000" in described
    shown = ["--formatter-property", "print.headers=true", "--formatter-property", "print.key=true"]
    line = broker.tool("consumer.ConsoleConsumer", *where, "--from-beginning", "--max-messages", "1", *shown)
    headers, key, read = line.rstrip("\n").split("\t")
    assert key == event.answer_id
    assert json.loads(read) == json.loads(value)
    named = dict(header.split(":", 1) for header in headers.split(","))
    assert named["content-type"].startswith("application/cloudevents+json")
    for name in ("specversion", "id", "source", "type", "time"):
        assert named[f"ce_{name}"] == json.loads(value)[name]


def test_topics_that_are_replayed_twice_and_shuffled_leave_the_rows_as_they_were(
    broker: Broker, bus: Bus, elsewhere: Broker, tmp_path: Path
) -> None:
    """Annotation reads: once in order; both copies again; then a new database reads nothing but the shuffled ones."""
    events: list[Event] = [_answer(n) for n in range(150)]
    events += [
        FeedbackGiven(feedback_id=f"f{n}", answer_id=f"a{n}", thumb="down", given_at=NOW) for n in range(0, 150, 2)
    ]
    bus.publish([Outgoing(TOPIC_OF[type(e)], key_of(e), encode(e, "gateway")) for e in events])
    before = _rows_after(broker, tmp_path / "one", len(events))
    assert len(before["samples"]) == 150
    assert len(before["feedback"]) == 75

    replay = [Outgoing(r.topic, r.key, r.value) for topic in LISTENS_TO for r in bus.history(topic)] * 2
    random.Random(0).shuffle(replay)
    bus.publish(replay)
    assert _rows_after(broker, tmp_path / "one", 3 * len(events)) == before

    other = open_bus(elsewhere.url)
    other.ensure_topics()
    other.publish(replay)
    other.close()
    assert _rows_after(elsewhere, tmp_path / "two", 2 * len(events)) == before


def _answer(n: int) -> AnswerServed:
    words = random.Random(n)
    prompt = " ".join(f"{words.getrandbits(40):x}" for _ in range(12))  # no two are alike, so each is its own group
    return AnswerServed(
        answer_id=f"a{n}",
        workload=WORKLOAD,
        version="v1",
        messages=[{"role": "user", "content": prompt}],
        answer=json.dumps({"queue": "power", "n": n}),
        served_at=NOW,
    )


def _rows_after(broker: Broker, folder: Path, records: int) -> dict[str, list[Any]]:
    """Every row that annotation has once it has read so many records."""
    if not folder.exists():
        write_scenario(folder)
        make_tables(f"sqlite:///{folder / 'ratchet.db'}")
    engine = open_database(f"sqlite:///{folder / 'ratchet.db'}", "annotation")
    bus = open_bus(broker.url)
    loop = ConsumerLoop(
        service="annotation",
        engine=engine,
        bus=bus,
        handlers=handlers_of(read_deployment(folder / "ratchet.toml").workloads, lambda: NOW),
        listens_to=LISTENS_TO,
        on_crash=print,
    )

    def rows(query: str) -> list[Any]:
        with reading(engine) as session:
            return [tuple(row) for row in session.connection().execute(text(query))]

    loop.start()
    until(lambda: rows("SELECT sum(next_offset) FROM offsets") == [(records,)], 90)
    loop.stop()
    bus.close()
    assert loop.failed is None
    found = {table: rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}
    engine.dispose()
    return found


def _as_kept(broker: Broker) -> dict[str, dict[str, str]]:
    """Name on the broker -> every setting of that topic."""
    admin = broker.admin()
    mine = [name for name in admin.list_topics() if name.startswith(broker.prefix)]
    found = admin.describe_configs([ConfigResource("TOPIC", name) for name in mine], config_filter="all")["topic"]
    admin.close()
    return {name: {key: setting["value"] for key, setting in settings.items()} for name, settings in found.items()}
