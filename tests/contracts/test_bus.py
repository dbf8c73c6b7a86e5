"""What shared.bus promises, on each implementation: the embedded log, and Kafka (librdkafka's mock broker)."""

import contextlib
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from shared.bus import MAX_RECORD_BYTES, Bus, Consumer, Outgoing, Position, Record, open_bus
from shared.errors import BadConfig, Unavailable, Unusable
from shared.topics import ANSWERS, FEEDBACK, JOBS
from tests.contracts.mock_broker import MockBroker


class EmbeddedLog:
    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite://{folder / 'bus.db'}"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.getsignal(signal.SIGXFSZ)

    def down(self) -> None:
        """The kernel refuses every write to a file, as on a full disk."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._limits[1]))

    def up(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        signal.signal(signal.SIGXFSZ, self._handler)

    def close(self) -> None:
        self.up()


class KafkaLog:
    def __init__(self) -> None:
        self._broker = MockBroker()
        self.url = (
            f"kafka://{self._broker.address}?api_version=2.1&delivery_timeout_seconds=4&session_timeout_seconds=1"
        )
        self.down, self.up, self.close = self._broker.down, self._broker.up, self._broker.close


Log = EmbeddedLog | KafkaLog


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.slow)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    log: Log = EmbeddedLog(tmp_path) if request.param == "sqlite" else KafkaLog()
    yield log
    log.close()


@pytest.fixture
def bus(log: Log) -> Iterator[Bus]:
    bus = open_bus(log.url)
    bus.ensure_topics()
    yield bus
    bus.close()


@pytest.fixture
def member(bus: Bus) -> Iterator[Callable[..., Consumer]]:
    """Consumers that are closed at the end of the test."""
    members: list[Consumer] = []

    def join(
        group: str, topics: Sequence[str] = (ANSWERS,), starting_at: Callable[[], dict[Position, int]] | None = None
    ) -> Consumer:
        members.append(bus.consumer(group, topics, starting_at))
        return members[-1]

    yield join
    for consumer in members:
        consumer.close()


def answers(*numbers: int, keys: int = 5) -> list[Outgoing]:
    return [Outgoing(ANSWERS, f"key-{n % keys}", str(n).encode()) for n in numbers]


def read(consumer: Consumer, count: int, seconds: float = 60.0) -> list[Record]:
    """Polls until `count` records came; more than that is an error of the bus."""
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
        records += consumer.poll(100, 0.2)
    assert len(records) == count
    return records


def numbers_of(records: Sequence[Record]) -> list[int]:
    return sorted(int(record.value) for record in records)


def ends_of(records: Sequence[Record]) -> dict[Position, int]:
    return {(record.topic, record.partition): record.offset + 1 for record in records}


def test_a_published_record_arrives_as_it_was(bus: Bus, member: Callable[..., Consumer]) -> None:
    sent = Outgoing(ANSWERS, "schlüssel", bytes(range(256)) * 40)
    bus.publish([sent])
    (record,) = read(member("g"), 1)
    assert (record.topic, record.key, record.value) == (sent.topic, sent.key, sent.value)


def test_publishing_nothing_is_harmless(bus: Bus) -> None:
    bus.publish([])
    assert list(bus.history(ANSWERS)) == []


def test_records_of_a_key_keep_their_order(bus: Bus, member: Callable[..., Consumer]) -> None:
    for start in range(0, 200, 40):
        bus.publish(answers(*range(start, start + 40)))
    records = read(member("g"), 200)
    for key in {record.key for record in records}:
        mine = [int(record.value) for record in records if record.key == key]
        assert mine == sorted(mine)
        assert len({record.partition for record in records if record.key == key}) == 1


def test_keys_are_spread_over_partitions(bus: Bus) -> None:
    bus.publish(answers(*range(100), keys=100))
    assert len({record.partition for record in bus.history(ANSWERS)}) > 3


def test_a_poll_gives_no_more_than_was_asked_for(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(50)))
    consumer = member("g")
    read(consumer, 0)
    sizes: list[int] = []
    deadline = time.monotonic() + 60
    while sum(sizes) < 50:
        assert time.monotonic() < deadline
        sizes.append(len(consumer.poll(7, 0.5)))
    assert max(sizes) == 7


def test_a_poll_with_nothing_to_read_returns_after_its_time(bus: Bus, member: Callable[..., Consumer]) -> None:
    started = time.monotonic()
    assert member("g").poll(10, 0.3) == []
    assert time.monotonic() - started >= 0.25


def test_a_waiting_poll_sees_what_another_connection_publishes(
    bus: Bus, log: Log, member: Callable[..., Consumer]
) -> None:
    consumer = member("g")
    assert consumer.poll(10, 1.0) == []
    other = open_bus(log.url)
    other.publish(answers(1))
    assert numbers_of(read(consumer, 1)) == [1]
    other.close()


def test_groups_do_not_disturb_each_other(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(10)))
    first = member("first")
    first.commit(ends_of(read(first, 10)))
    assert numbers_of(read(member("second"), 10)) == list(range(10))


def test_a_group_reads_only_its_topics(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish([Outgoing(ANSWERS, "k", b"1"), Outgoing(FEEDBACK, "k", b"2"), Outgoing(JOBS, "k", b"3")])
    assert {record.topic for record in read(member("g", [FEEDBACK, JOBS]), 2)} == {FEEDBACK, JOBS}


def test_a_new_group_begins_at_the_earliest_record(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(10)))
    assert numbers_of(read(member("came late"), 10)) == list(range(10))


def test_what_was_not_committed_comes_again_after_a_restart(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(20)))
    consumer = member("g")
    read(consumer, 20)
    consumer.close()
    assert numbers_of(read(member("g"), 20)) == list(range(20))


def test_a_restarted_group_goes_on_from_its_last_commit(bus: Bus, log: Log, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(20)))
    consumer = member("g")
    consumer.commit(ends_of(read(consumer, 20)))
    consumer.close()
    reopened = open_bus(log.url)
    reopened.publish(answers(20, 21))
    assert numbers_of(read(member("g"), 2)) == [20, 21]
    reopened.close()


def test_the_database_s_offsets_overrule_the_bus_s(bus: Bus, member: Callable[..., Consumer]) -> None:
    """A crash between the database's commit and the bus's leaves the bus behind; a new database knows nothing."""
    bus.publish(answers(*range(20), keys=20))
    first = member("g")
    records = read(first, 20)
    first.commit(dict.fromkeys(ends_of(records), 1))
    first.close()
    ahead = ends_of(records)
    dropped = ahead.popitem()[0]
    expected = [int(r.value) for r in records if (r.topic, r.partition) == dropped]
    assert numbers_of(read(member("g", starting_at=lambda: ahead), len(expected))) == sorted(expected)


def test_offsets_of_another_log_mean_reading_from_the_beginning(bus: Bus, member: Callable[..., Consumer]) -> None:
    """The bus was wiped and the database was not."""
    bus.publish(answers(*range(10)))
    from_elsewhere: dict[Position, int] = {(ANSWERS, partition): 100_000 for partition in range(6)}
    assert numbers_of(read(member("g", starting_at=lambda: from_elsewhere), 10)) == list(range(10))


def test_seeking_back_reads_again_and_ignores_what_is_not_assigned(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(10)))
    consumer = member("g")
    records = read(consumer, 10)
    consumer.seek({**dict.fromkeys(ends_of(records), 0), (FEEDBACK, 0): 5, (ANSWERS, 77): 1})
    assert numbers_of(read(consumer, 10)) == list(range(10))


def test_committing_what_is_not_assigned_is_ignored(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(1))
    consumer = member("g")
    consumer.commit({**ends_of(read(consumer, 1)), (FEEDBACK, 0): 5})


def test_the_lag_counts_what_is_not_committed(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(30)))
    consumer = member("g")
    records = read(consumer, 30)
    assert consumer.lag() == 30
    consumer.commit(ends_of(records[:1]))
    assert consumer.lag() == 30 - (records[0].offset + 1)
    consumer.commit(ends_of(records))
    assert consumer.lag() == 0


def test_two_members_of_a_group_read_everything_between_them(bus: Bus) -> None:
    """While they settle who reads what, a record may come to both; it is never lost to both."""
    came: list[int] = []
    stopping = threading.Event()

    def consume() -> None:
        while not stopping.is_set():
            consumer = bus.consumer("g", [ANSWERS])
            with contextlib.suppress(Unavailable):  # while partitions change hands; then a new member begins
                while not stopping.is_set():
                    records = consumer.poll(100, 0.1)
                    came.extend(numbers_of(records))
                    consumer.commit(ends_of(records))
            consumer.close()

    members = [threading.Thread(target=consume) for _ in range(2)]
    for each in members:
        each.start()
    deadline = time.monotonic() + 60
    for start in range(0, 60, 20):
        bus.publish(answers(*range(start, start + 20), keys=60))
        while not set(range(start + 20)) <= set(came) and time.monotonic() < deadline:
            time.sleep(0.01)
    stopping.set()
    for each in members:
        each.join()
    assert set(came) == set(range(60))


def test_a_second_member_takes_over_from_the_last_commit(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(20)))
    first = member("g")
    first.commit(ends_of(read(first, 20)))
    second = member("g")
    bus.publish(answers(*range(20, 30)))
    first.close()
    assert numbers_of(read(second, 10)) == list(range(20, 30))


def test_a_record_that_is_too_large_is_refused_and_nothing_is_written(bus: Bus) -> None:
    with pytest.raises(Unusable, match=f"over the bus's {MAX_RECORD_BYTES} bytes"):
        bus.publish([*answers(1), Outgoing(ANSWERS, "k", b"x" * (MAX_RECORD_BYTES + 1))])
    assert list(bus.history(ANSWERS)) == []


def test_a_record_of_exactly_the_limit_passes(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish([Outgoing(ANSWERS, "k", b"x" * (MAX_RECORD_BYTES - 1))])
    (record,) = read(member("g"), 1)
    assert len(record.value) == MAX_RECORD_BYTES - 1


def test_an_unknown_topic_is_refused_by_name(bus: Bus) -> None:
    with pytest.raises(Unusable, match=r"'ratchet\.anwsers' is not a topic; known: ratchet\.answers"):
        bus.publish([Outgoing("ratchet.anwsers", "k", b"x")])


def test_the_history_is_all_of_a_topic_and_leaves_groups_alone(bus: Bus, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(*range(10)))
    bus.publish([Outgoing(FEEDBACK, "k", b"99")])
    assert numbers_of(list(bus.history(ANSWERS))) == list(range(10))
    assert numbers_of(list(bus.history(ANSWERS))) == list(range(10))
    assert numbers_of(read(member("g"), 10)) == list(range(10))


def test_making_topics_twice_is_harmless(bus: Bus) -> None:
    bus.publish(answers(1))
    bus.ensure_topics()
    bus.ensure_topics()
    assert numbers_of(list(bus.history(ANSWERS))) == [1]


def test_a_bus_that_is_away_is_unavailable_and_comes_back(bus: Bus, log: Log, member: Callable[..., Consumer]) -> None:
    bus.publish(answers(1))
    log.down()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable):
                bus.publish(answers(2))
    finally:
        log.up()
    deadline = time.monotonic() + 60
    while True:
        try:
            bus.publish(answers(3))
            break
        except Unavailable:
            assert time.monotonic() < deadline
    consumer = member("g")
    came: set[int] = set()
    while not came >= {1, 3}:  # 2 may be there: "unavailable" does not say that nothing was written
        assert time.monotonic() < deadline
        came |= {int(record.value) for record in consumer.poll(10, 0.5)}
    assert came <= {1, 2, 3}


NONSENSE = """
redis://127.0.0.1:1  sqlite://  sqlite:///  kafka://  kafka://host  kafka://h:1?colour=red  kafka://h:x
kafka://h:1?api_version=new  kafka://h:99999
"""


@pytest.mark.parametrize("url", ["", *NONSENSE.split()])
def test_a_bus_url_that_makes_no_sense_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(BadConfig, match=r"sqlite:///|kafka://"):
        open_bus(url)
