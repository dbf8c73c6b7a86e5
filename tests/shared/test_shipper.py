"""The shipper between a real spool and a real bus: everything arrives, in order, whatever fails on the way."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from shared import shipper as shipper_module
from shared.bus import MAX_RECORD_BYTES, Outgoing
from shared.dead_letters import DeadLetter
from shared.errors import Unavailable
from shared.shipper import Shipper
from shared.sqlite_log import Spool, SpoolDrain, SqliteBus
from shared.topics import ANSWERS, DEAD


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class UnreliableBus(SqliteBus):
    """The real bus, that can be taken away."""

    away = threading.Event()

    def publish(self, records: Sequence[Outgoing]) -> None:
        if self.away.is_set():
            raise Unavailable("the broker is away")
        super().publish(records)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", 64 * 2**20)
    yield spool
    spool.close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[UnreliableBus]:
    bus = UnreliableBus(tmp_path / "bus.db")
    bus.away = threading.Event()
    yield bus
    bus.close()


@pytest.fixture
def start(spool: Spool, tmp_path: Path, bus: UnreliableBus) -> Iterator[Callable[..., Shipper]]:
    shippers: list[Shipper] = []

    def open_bus() -> SqliteBus:
        own = UnreliableBus(tmp_path / "bus.db")
        own.away = bus.away
        return own

    def start(on_crash: Callable[[BaseException], None] = lambda error: None) -> Shipper:
        shippers.append(Shipper(spool.path, open_bus, on_crash=on_crash, first_pause_seconds=0.02))
        shippers[-1].start()
        return shippers[-1]

    yield start
    for shipper in shippers:
        shipper.stop()


def append(spool: Spool, *records: Outgoing) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*[spool.append(record) for record in records])

    asyncio.run(all_of_them())


def answers(*numbers: int) -> list[Outgoing]:
    return [Outgoing(ANSWERS, "k", str(number).encode()) for number in numbers]


def shipped(bus: SqliteBus) -> list[int]:
    return [int(record.value) for record in bus.history(ANSWERS)]


def test_what_is_spooled_arrives_in_order_and_leaves_the_spool(
    spool: Spool, bus: UnreliableBus, start: Callable[..., Shipper]
) -> None:
    append(spool, *answers(*range(1200)))
    start()
    until(lambda: spool.depth_records == 0)
    append(spool, *answers(1200))
    until(lambda: len(shipped(bus)) == 1201)
    assert shipped(bus) == list(range(1201))
    until(lambda: spool.depth_bytes == 0)


def test_records_wait_while_the_bus_is_away(spool: Spool, bus: UnreliableBus, start: Callable[..., Shipper]) -> None:
    bus.away.set()
    shipper = start()
    append(spool, *answers(*range(20)))
    until(lambda: shipper.waiting is not None)
    assert spool.depth_records == 20
    bus.away.clear()
    until(lambda: spool.depth_records == 0)
    assert shipped(bus) == list(range(20))
    until(lambda: shipper.waiting is None)


def test_a_bus_that_cannot_be_opened_yet_is_tried_again(spool: Spool, tmp_path: Path) -> None:
    attempts: list[int] = []

    def open_bus() -> SqliteBus:
        attempts.append(1)
        if len(attempts) < 3:
            raise Unavailable("no broker")
        return SqliteBus(tmp_path / "bus.db")

    append(spool, *answers(1))
    shipper = Shipper(spool.path, open_bus, on_crash=print, first_pause_seconds=0.01)
    shipper.start()
    until(lambda: spool.depth_records == 0)
    shipper.stop()


def test_a_record_the_bus_can_never_take_becomes_a_dead_letter_and_the_rest_goes_on(
    spool: Spool, bus: UnreliableBus, start: Callable[..., Shipper]
) -> None:
    too_large = Outgoing(ANSWERS, "k", b"x" * (MAX_RECORD_BYTES + 1))
    append(spool, *answers(1), too_large, *answers(2))
    start()
    until(lambda: spool.depth_records == 0)
    assert shipped(bus) == [1, 2]
    (letter,) = [msgspec.json.decode(record.value, type=DeadLetter) for record in bus.history(DEAD)]
    assert letter.consumer == "shipper"
    assert letter.topic == ANSWERS
    assert "over the bus's" in letter.reason
    assert len(letter.value) + letter.cut_bytes == MAX_RECORD_BYTES + 1


def test_a_crash_after_publishing_ships_again_and_loses_nothing(
    spool: Spool, bus: UnreliableBus, start: Callable[..., Shipper]
) -> None:
    append(spool, *answers(*range(5)))
    drain = SpoolDrain.open(spool.path)
    bus.publish([record for _, record in drain.read_batch(3)])  # killed before it could delete
    drain.close()
    start()
    until(lambda: spool.depth_records == 0)
    assert shipped(bus) == [0, 1, 2, 0, 1, 2, 3, 4]


def test_a_bug_is_not_silent(
    spool: Spool, start: Callable[..., Shipper], bus: UnreliableBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(shipper_module, "publish_or_bury", broken)
    crashes: list[BaseException] = []
    append(spool, *answers(1))
    start(crashes.append)
    until(lambda: bool(crashes))
    assert spool.depth_records == 1


SHIPPING = """
import sys, threading
from pathlib import Path
from shared.shipper import Shipper
from shared.sqlite_log import SqliteBus

folder = Path(sys.argv[1])
shipper = Shipper(folder / "spool.db", lambda: SqliteBus(folder / "bus.db"), on_crash=print, batch_records=20)
shipper.start()
print("started", flush=True)
shipper.join()
"""


@pytest.mark.slow
def test_kill_9_of_a_shipping_process_at_any_moment_loses_and_reorders_nothing(
    spool: Spool, bus: UnreliableBus, tmp_path: Path
) -> None:
    append(spool, *answers(*range(2000)))
    for wanted in (1, 900, 2000):
        child = subprocess.Popen(
            [sys.executable, "-c", SHIPPING, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        until(lambda wanted=wanted: len(set(shipped(bus))) >= wanted)  # type: ignore[misc]
        child.kill()
        child.communicate()
    numbers = shipped(bus)
    assert sorted(set(numbers)) == list(range(2000))
    firsts = list(dict.fromkeys(numbers))
    assert firsts == sorted(firsts)
