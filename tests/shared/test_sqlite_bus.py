"""What only the embedded bus promises: many processes on one file, one active member a topic, retention."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.bus import Outgoing, Record
from shared.errors import Unusable
from shared.sqlite_log import SqliteBus
from shared.topics import ANSWERS, FEEDBACK, TOPICS

DAY = 86400.0


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    bus = SqliteBus(tmp_path / "bus.db")
    yield bus
    bus.close()


def answers(*numbers: int) -> list[Outgoing]:
    return [Outgoing(ANSWERS, f"key-{n}", str(n).encode()) for n in numbers]


def ends(records: list[Record]) -> dict[tuple[str, int], int]:
    return {(record.topic, record.partition): record.offset + 1 for record in records}


def test_records_past_their_retention_are_trimmed_and_offsets_go_on(tmp_path: Path) -> None:
    clock = Clock()
    bus = SqliteBus(tmp_path / "bus.db", clock)
    bus.publish([Outgoing(ANSWERS, "k", b"old"), Outgoing("ratchet.promotion", "k", b"kept for a year")])
    clock.now += 13 * DAY
    bus.publish([Outgoing(ANSWERS, "k", b"young")])
    clock.now += 2 * DAY
    bus.publish([Outgoing(FEEDBACK, "k", b"any")])
    assert [(r.value, r.offset) for r in bus.history(ANSWERS)] == [(b"young", 1)]
    assert len(list(bus.history("ratchet.promotion"))) == 1
    consumer = bus.consumer("came late", [ANSWERS])
    (record,) = consumer.poll(10, 1.0)
    assert record.value == b"young"
    assert consumer.lag() == 1
    consumer.close()
    bus.close()


def test_partitions_that_were_trimmed_empty_keep_counting(tmp_path: Path) -> None:
    clock = Clock()
    bus = SqliteBus(tmp_path / "bus.db", clock)
    bus.publish([Outgoing(ANSWERS, "k", b"1")])
    clock.now += 400 * DAY
    bus.publish([Outgoing(FEEDBACK, "k", b"2")])
    assert list(bus.history(ANSWERS)) == []
    bus.publish([Outgoing(ANSWERS, "k", b"3")])
    assert [r.offset for r in bus.history(ANSWERS)] == [1]
    bus.close()


def test_every_topic_has_its_partitions(tmp_path: Path, bus: SqliteBus) -> None:
    with sqlite3.connect(tmp_path / "bus.db") as connection:
        rows = dict(connection.execute("SELECT topic, count(*) FROM partitions GROUP BY topic"))
    assert rows == {topic.name: topic.partitions for topic in TOPICS}


def test_only_one_member_of_a_group_is_active(bus: SqliteBus) -> None:
    first, second = bus.consumer("g", [ANSWERS]), bus.consumer("g", [ANSWERS])
    bus.publish(answers(*range(10)))
    assert len(first.poll(100, 1.0)) == 10
    assert second.poll(100, 0.3) == []
    first.close()
    assert len(second.poll(100, 5.0)) == 10  # nothing was committed
    second.close()


def test_a_busy_partition_does_not_starve_the_others(bus: SqliteBus) -> None:
    bus.publish([Outgoing(ANSWERS, "busy", b"x") for _ in range(1000)] + [Outgoing(FEEDBACK, "k", b"y")])
    consumer = bus.consumer("g", [ANSWERS, FEEDBACK])
    topics = [record.topic for _ in range(20) for record in consumer.poll(20, 1.0)]
    assert FEEDBACK in topics
    consumer.close()


def test_threads_publish_through_one_bus(bus: SqliteBus) -> None:
    def publish(start: int) -> None:
        for number in range(start, start + 20):
            bus.publish(answers(number))

    threads = [threading.Thread(target=publish, args=(20 * n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(r.value) for r in bus.history(ANSWERS)) == list(range(100))


def test_an_idle_consumer_costs_next_to_nothing(bus: SqliteBus) -> None:
    consumer = bus.consumer("g", [ANSWERS, FEEDBACK])
    consumer.poll(10, 0.1)
    started = time.process_time()
    consumer.poll(10, 2.0)
    assert time.process_time() - started < 0.1  # 5 % of a core; about 1 % when nothing else runs
    consumer.close()


def test_a_damaged_bus_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bus.db").write_bytes(b"garbage " * 4096)
    with pytest.raises(Unusable, match="move it away"):
        SqliteBus(tmp_path / "bus.db")


def test_a_path_with_odd_characters_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.settings import SharedSettings

    folder = tmp_path / "a #b ?c %20"
    monkeypatch.setenv("RATCHET_DATA_DIR", str(folder))
    bus = SqliteBus.open(SharedSettings.load().bus)
    bus.close()
    assert (folder / "bus.db").is_file()


PUBLISHING = """
import sys
from pathlib import Path
from shared.bus import Outgoing
from shared.sqlite_log import SqliteBus

bus = SqliteBus(Path(sys.argv[1]))
for number in range(10**9):
    bus.publish([Outgoing("ratchet.answers", sys.argv[2], f"{sys.argv[2]}-{number}-{part}".encode()) for part in "ab"])
    print(f"{sys.argv[2]}-{number}", flush=True)
"""

CONSUMING = """
import sys
from pathlib import Path
from shared.sqlite_log import SqliteBus

consumer = SqliteBus(Path(sys.argv[1])).consumer("g", ["ratchet.answers"])
while True:
    for record in consumer.poll(10, 1.0):
        print(record.partition, record.offset, flush=True)
        consumer.commit({(record.topic, record.partition): record.offset + 1})
"""


def spawn(program: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.slow
def test_publishers_that_are_killed_lose_nothing_acknowledged_and_leave_no_half_batch(
    tmp_path: Path, bus: SqliteBus
) -> None:
    children = [spawn(PUBLISHING, str(tmp_path / "bus.db"), name) for name in "xyz"]
    acknowledged: set[str] = set()
    for count, child in enumerate(children):
        assert child.stdout is not None
        for _ in range(30 + 20 * count):
            acknowledged.add(child.stdout.readline().strip())
        child.kill()
    for child in children:
        assert child.stdout is not None
        acknowledged |= {line.strip() for line in child.stdout.readlines() if line.endswith("\n")}
        child.wait()
    values = [record.value.decode() for record in bus.history(ANSWERS)]
    parts = {part: {value[:-2] for value in values if value.endswith(part)} for part in ("-a", "-b")}
    assert acknowledged <= parts["-a"]
    assert parts["-a"] == parts["-b"]
    assert len(values) == len(set(values))


@pytest.mark.slow
def test_a_consumer_that_is_killed_is_followed_at_once_from_its_last_commit(tmp_path: Path, bus: SqliteBus) -> None:
    bus.publish(answers(*range(300)))
    child = spawn(CONSUMING, str(tmp_path / "bus.db"))
    assert child.stdout is not None
    told = {tuple(map(int, child.stdout.readline().split())) for _ in range(50)}
    follower = bus.consumer("g", [ANSWERS])
    assert follower.poll(10, 0.3) == []
    child.kill()
    told |= {tuple(map(int, line.split())) for line in child.stdout.readlines() if line.endswith("\n")}
    child.wait()
    started = time.monotonic()
    rest: set[tuple[int, ...]] = set()
    while len(rest | told) < 300:
        assert time.monotonic() - started < 60
        records = follower.poll(100, 1.0)
        follower.commit(ends(records))
        rest |= {(record.partition, record.offset) for record in records}
    assert len(rest & told) <= 1  # at most the one that was told and not yet committed
    follower.close()
