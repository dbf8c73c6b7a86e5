"""What happens to a real broker in production, and that nothing that was acknowledged is lost by it."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource

from shared.bus import Bus, Outgoing, Record, open_bus
from shared.dead_letters import DeadLetter
from shared.errors import Unavailable
from shared.events import FeedbackGiven, encode
from shared.kafka_bus.bus import WATCHDOG_SECONDS
from shared.shipper import Shipper
from shared.sqlite_log import Spool
from shared.topics import ANSWERS, DEAD, FEEDBACK
from tests.real.kafka import tally
from tests.real.kafka.broker import Broker
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

DELIVERY_SECONDS = 3.0


@pytest.fixture
def broker(servers: RunningStack) -> Iterator[Broker]:
    broker = Broker(servers, DELIVERY_SECONDS)
    yield broker
    broker.close()


@pytest.fixture
def bus(broker: Broker) -> Iterator[Bus]:
    bus = open_bus(broker.url)
    bus.ensure_topics()
    yield bus
    bus.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", 2**30)
    yield spool
    spool.close()


@pytest.fixture
def ship(spool: Spool, broker: Broker) -> Iterator[Callable[[], Shipper]]:
    shippers: list[Shipper] = []

    def start() -> Shipper:
        shippers.append(Shipper(spool.path, lambda: open_bus(broker.url), on_crash=print))
        shippers[-1].start()
        return shippers[-1]

    yield start
    for shipper in shippers:
        shipper.stop()
        assert shipper.failed is None


def answers(first: int, end: int) -> list[Outgoing]:
    return [Outgoing(ANSWERS, f"key-{n % 50}", str(n).encode()) for n in range(first, end)]


def numbers(bus: Bus) -> list[int]:
    return [int(record.value) for record in bus.history(ANSWERS)]


def append(spool: Spool, records: Sequence[Outgoing]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*[spool.append(record) for record in records])

    asyncio.run(all_of_them())


def set_limit(broker: Broker, topic: str, max_bytes: int) -> None:
    admin = broker.admin()
    admin.alter_configs([ConfigResource("TOPIC", broker.prefix + topic, {"max.message.bytes": str(max_bytes)})])
    admin.close()


def test_a_stall_longer_than_the_delivery_timeout_loses_nothing(
    broker: Broker, bus: Bus, spool: Spool, ship: Callable[[], Shipper]
) -> None:
    append(spool, answers(0, 300))
    shipper = ship()
    until(lambda: spool.depth_records == 0)
    with broker.stalled():
        append(spool, answers(300, 600))
        until(lambda: shipper.waiting is not None, DELIVERY_SECONDS + WATCHDOG_SECONDS + 30)
        append(spool, answers(600, 900))
        assert spool.depth_records >= 300
    until(lambda: spool.depth_records == 0)
    assert set(numbers(bus)) == set(range(900))


def test_a_producer_with_records_on_the_way_survives_a_long_stall(broker: Broker, bus: Bus) -> None:
    """Batches that were sent and not acknowledged are what wedges the client with idempotence."""
    outcomes: list[str] = []
    enough = threading.Event()

    def send_on() -> None:
        while not enough.is_set():
            start = len(outcomes) * 100
            try:
                bus.publish(answers(start, start + 100))
                outcomes.append("acked")
            except Unavailable:
                outcomes.append("unavailable")

    sender = threading.Thread(target=send_on)
    sender.start()
    until(lambda: outcomes[-1:] == ["acked"])
    with broker.stalled():
        until(lambda: outcomes[-1] == "unavailable", DELIVERY_SECONDS + WATCHDOG_SECONDS + 30)
    until(lambda: outcomes[-1] == "acked", 120)
    enough.set()
    sender.join(timeout=60)
    kept = set(numbers(bus))
    for at, outcome in enumerate(outcomes):
        if outcome == "acked":
            assert set(range(at * 100, at * 100 + 100)) <= kept


def test_kill_9_of_the_broker_in_the_middle_of_20000_sends_loses_nothing_that_was_acked(
    broker: Broker, bus: Bus
) -> None:
    acked: list[int] = []
    refused = 0

    def send_all() -> None:
        nonlocal refused
        for start in range(0, 20_000, 250):
            while True:
                try:
                    bus.publish(answers(start, start + 250))
                    break
                except Unavailable:
                    refused += 1
            acked.extend(range(start, start + 250))

    sender = threading.Thread(target=send_all)
    sender.start()
    until(lambda: len(acked) >= 7_000)
    broker.kill()
    broker.until_healthy()
    sender.join(timeout=120)
    assert len(acked) == 20_000
    came = Counter(numbers(bus))
    print(f"\n{refused} batches refused, {sum(came.values()) - len(came)} records written twice", flush=True)
    assert set(came) == set(range(20_000))


def test_a_topic_that_is_deleted_is_made_again_and_the_spool_arrives(
    broker: Broker, bus: Bus, spool: Spool, ship: Callable[[], Shipper], caplog: pytest.LogCaptureFixture
) -> None:
    append(spool, answers(0, 10))
    ship()
    until(lambda: spool.depth_records == 0)
    admin = broker.admin()
    admin.delete_topics([broker.prefix + ANSWERS])
    admin.close()
    append(spool, answers(10, 20))
    until(lambda: spool.depth_records == 0)
    assert set(numbers(bus)) == set(range(10, 20))
    assert "shipping waits" in caplog.text


def test_publishing_to_a_missing_topic_is_unavailable_by_name(broker: Broker) -> None:
    bus = open_bus(broker.url)
    with pytest.raises(Unavailable, match=rf"it has no topic {broker.prefix}{ANSWERS}"):
        bus.publish(answers(0, 1))
    bus.close()


def test_an_idle_consumer_notices_that_the_broker_is_away(broker: Broker, bus: Bus) -> None:
    consumer = bus.consumer("g", [ANSWERS])
    assert consumer.poll(10, 1.0) == []

    def poll_on() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            consumer.poll(10, 0.5)

    with broker.stalled(), pytest.raises(Unavailable, match="the broker is away"):
        poll_on()
    consumer.close()


@pytest.mark.parametrize("letter_limit", [None, 4000])
def test_a_record_larger_than_the_broker_takes_goes_to_the_dead_letters_and_the_rest_goes_on(
    broker: Broker, bus: Bus, spool: Spool, ship: Callable[[], Shipper], letter_limit: int | None
) -> None:
    """An operator lowered the limit of the topic, and of the dead letters too."""
    set_limit(broker, ANSWERS, 2000)
    if letter_limit:
        set_limit(broker, DEAD, letter_limit)
    append(spool, [*answers(0, 2), Outgoing(ANSWERS, "key-0", b"x" * 50_000), *answers(2, 4)])
    ship()
    until(lambda: spool.depth_records == 0)
    assert set(numbers(bus)) == set(range(4))
    (letter,) = [msgspec.json.decode(record.value, type=DeadLetter) for record in bus.history(DEAD)]
    assert "the broker can never take" in letter.reason
    assert len(letter.value) + letter.cut_bytes == 50_000
    assert bool(letter.cut_bytes) == bool(letter_limit)


def test_two_consumers_of_which_one_is_killed_in_its_batch_count_every_event_once(
    broker: Broker, bus: Bus, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path / 'tally.db'}"
    tally.make_tables(database)
    command = [sys.executable, "-m", "tests.real.kafka.tally", broker.url, database]
    members = [subprocess.Popen([*command, most], stdout=subprocess.PIPE, text=True) for most in ("160", "1000000")]
    printed: list[list[str]] = [[], []]
    readers = [threading.Thread(target=_read, args=(m, lines)) for m, lines in zip(members, printed, strict=True)]
    for reader in readers:
        reader.start()
    wanted: list[str] = []
    try:
        deadline = time.monotonic() + 150
        while members[0].poll() is None or not printed[1]:  # whoever joins first is given more while it waits
            assert time.monotonic() < deadline, [len(lines) for lines in printed]
            if len(wanted) - sum(map(len, printed)) < 200:
                wanted += _give_feedback(bus, len(wanted), 100)
            time.sleep(0.05)
        wanted += _give_feedback(bus, len(wanted), 300)
        until(lambda: len(set(tally.counted(database))) == len(wanted), 120)
    finally:
        for member in members:
            member.kill()
            member.wait()
        for reader in readers:
            reader.join()
    assert members[0].returncode == -signal.SIGKILL
    assert len(printed[0]) == 160
    assert sorted(tally.counted(database)) == sorted(wanted)
    assert set(printed[0]) & set(printed[1])  # what it had begun was done again by the other, and counted once


def _give_feedback(bus: Bus, first: int, many: int) -> list[str]:
    events = [FeedbackGiven(feedback_id=f"f{n}", answer_id=f"f{n}", thumb="up") for n in range(first, first + many)]
    bus.publish([Outgoing(FEEDBACK, e.answer_id, encode(e, "gateway")) for e in events])
    return [event.feedback_id for event in events]


def _read(member: "subprocess.Popen[str]", lines: list[str]) -> None:
    assert member.stdout is not None
    lines.extend(iter(member.stdout.readline, ""))


def test_records_that_retention_took_before_they_were_read_are_told(
    broker: Broker, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.publish(answers(0, 500))
    admin = broker.admin()
    admin.delete_records({TopicPartition(broker.prefix + ANSWERS, number): 5 for number in range(6)})
    admin.close()
    consumer = bus.consumer("late", [ANSWERS], starting_at=lambda: {(ANSWERS, number): 2 for number in range(6)})
    came: list[Record] = []

    def all_came() -> bool:
        came.extend(consumer.poll(500, 0.2))
        return len(came) >= 500 - 6 * 5

    until(all_came)
    consumer.close()
    assert {min(r.offset for r in came if r.partition == number) for number in range(6)} == {5}
    assert caplog.text.count("3 records were deleted by retention before they were read here") == 6
