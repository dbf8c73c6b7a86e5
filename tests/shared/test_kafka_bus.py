"""What only Kafka can do to a bus: stall, wedge the client, and refuse by its own limits."""

import threading
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from shared.bus import MAX_RECORD_BYTES, Outgoing
from shared.errors import Unavailable, Unusable
from shared.kafka_bus import Cluster, KafkaBus
from shared.kafka_bus import bus as publishing
from shared.topics import ANSWERS
from tests.contracts.mock_broker import MockBroker

pytestmark = pytest.mark.slow

MESSAGE_TOO_LARGE = 10
DELIVERY_SECONDS = 3.0
RECORD = Outgoing(ANSWERS, "k", b"1")


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    broker = MockBroker()
    yield broker
    broker.close()


@pytest.fixture
def bus(broker: MockBroker) -> Iterator[KafkaBus]:
    bus = KafkaBus(Cluster((broker.address,), api_version=(2, 1), delivery_timeout_seconds=DELIVERY_SECONDS))
    yield bus
    bus.close()


def publish_until_taken(bus: KafkaBus, record: Outgoing) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            bus.publish([record])
            return
        except Unavailable:
            assert time.monotonic() < deadline


def test_a_broker_that_accepts_but_never_answers_is_unavailable_in_bounded_time(
    bus: KafkaBus, broker: MockBroker
) -> None:
    bus.publish([RECORD])
    broker.stall(60)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        bus.publish([RECORD])
    assert time.monotonic() - started < DELIVERY_SECONDS + publishing.WATCHDOG_SECONDS + 2
    broker.stall(0)
    publish_until_taken(bus, RECORD)


def test_a_wedged_producer_is_abandoned_and_the_next_publish_makes_another(
    bus: KafkaBus, broker: MockBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Futures that never resolve, as kafka-python leaves them behind with idempotence after a long outage."""
    monkeypatch.setattr(publishing, "WATCHDOG_SECONDS", 0.2)
    bus.publish([RECORD])
    wedged = bus._producer
    assert wedged is not None
    monkeypatch.setattr(wedged._sender, "run_once", lambda: time.sleep(0.01))
    with pytest.raises(Unavailable, match="Timeout"):
        bus.publish([RECORD])
    bus.publish([RECORD])
    assert bus._producer is not wedged
    deadline = time.monotonic() + 60
    while wedged._sender.is_alive():
        assert time.monotonic() < deadline, "the wedged producer's thread goes on"
        time.sleep(0.02)


def test_a_rebalance_that_ends_between_two_polls_is_finished(bus: KafkaBus) -> None:
    """The client forgets it: no heartbeat goes out any more, and nothing is read for ever."""
    bus.publish([RECORD])
    member = bus.consumer("g", [ANSWERS])
    deadline = time.monotonic() + 60
    while not member.poll(10, 0.5):
        assert time.monotonic() < deadline
    assert member._consumer is not None
    coordinator = member._consumer._coordinator
    coordinator._assignment_snapshot = {}  # as when partitions are added
    while not coordinator.rejoining:
        member.poll(10, 0.0)
        assert time.monotonic() < deadline
    while not coordinator._join_task.is_done:
        time.sleep(0.01)
        assert time.monotonic() < deadline
    bus.publish([RECORD])
    while not member.poll(10, 0.5):
        assert time.monotonic() < deadline, "nothing is read after the rebalance"
    member.close()


def test_what_the_broker_finds_too_large_is_unusable(bus: KafkaBus, broker: MockBroker) -> None:
    """An operator set a lower limit than ours on the topic."""
    bus.publish([RECORD])
    broker.refuse_next_produce([MESSAGE_TOO_LARGE])
    with pytest.raises(Unusable, match="never take"):
        bus.publish([RECORD])
    bus.publish([RECORD])


def test_many_large_records_are_sent_in_bounded_pieces(bus: KafkaBus, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    send = bus._publish

    def measured(piece: list[Outgoing]) -> None:
        sizes.append(sum(len(record.value) for record in piece))
        send(piece)

    monkeypatch.setattr(bus, "_publish", measured)
    bus.publish([Outgoing(ANSWERS, str(n), b"x" * (MAX_RECORD_BYTES // 4)) for n in range(12)])
    assert sum(sizes) == 12 * (MAX_RECORD_BYTES // 4)
    assert max(sizes) <= publishing.UNACKED_BYTES
    assert len(list(bus.history(ANSWERS))) == 12


def test_nothing_is_sent_to_a_broker_before_the_first_use() -> None:
    before = threading.active_count()
    bus = KafkaBus.open("kafka://127.0.0.1:1?api_version=2.1")
    bus.consumer("g", [ANSWERS]).close()
    bus.close()
    assert threading.active_count() == before


def test_the_producer_keeps_to_what_was_measured(bus: KafkaBus) -> None:
    """Each of these was a silent loss, a wedge or a reordering when it was left at its default."""
    bus.publish([RECORD])
    assert isinstance(bus._producer, KafkaProducer)
    config = bus._producer.config
    assert config["enable_idempotence"] is False
    assert config["acks"] == -1
    assert config["max_in_flight_requests_per_connection"] == 1
    assert config["allow_auto_create_topics"] is False
