"""The gateway's spool: durable when acknowledged, bounded, one writer, and whole after kill -9."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.bus import Outgoing
from shared.errors import BadConfig, SpoolFull, Unavailable, Unusable
from shared.sqlite_log import Spool, SpoolDrain

MIB = 2**20


def record(number: int, size: int = 100) -> Outgoing:
    return Outgoing("ratchet.answers", f"key-{number}", f"{number}:".encode().ljust(size, b"x"))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", MIB)
    yield spool
    spool.close()


def drained(spool: Spool) -> list[Outgoing]:
    drain = SpoolDrain.open(spool.path)
    try:
        return [outgoing for _, outgoing in drain.read_batch(100_000)]
    finally:
        drain.close()


def test_what_was_appended_is_read_back_in_order(spool: Spool) -> None:
    async def append_many() -> None:
        await asyncio.gather(*[spool.append(record(n)) for n in range(300)])

    asyncio.run(append_many())
    assert drained(spool) == [record(n) for n in range(300)]
    assert (spool.depth_records, spool.depth_bytes) == (300, 30_000)


def test_an_append_resolves_only_after_another_process_could_read_it(spool: Spool) -> None:
    async def append_one() -> int:
        await spool.append(record(1))
        with sqlite3.connect(f"file:{spool.path}?mode=ro", uri=True) as other:
            return int(other.execute("SELECT count(*) FROM spool").fetchone()[0])

    assert asyncio.run(append_one()) == 1


def test_threads_and_loops_append_side_by_side(spool: Spool) -> None:
    threads = [threading.Thread(target=spool.append_and_wait, args=(record(n),)) for n in range(20)]
    for thread in threads:
        thread.start()

    async def append_many() -> None:
        await asyncio.gather(*[spool.append(record(n)) for n in range(20, 40)])

    asyncio.run(append_many())
    for thread in threads:
        thread.join()
    assert sorted(r.key for r in drained(spool)) == sorted(record(n).key for n in range(40))


def test_a_caller_that_went_away_loses_nothing_for_the_others(spool: Spool) -> None:
    async def leave_early() -> None:
        left = spool.append(record(1))
        stayed = spool.append(record(2))
        left.cancel()
        await stayed

    asyncio.run(leave_early())
    assert drained(spool) == [record(1), record(2)]


def test_it_says_full_before_it_refuses(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", max_bytes=10_000)
    try:
        for number in range(9):
            assert not spool.is_full()
            spool.append_and_wait(record(number, 1000))
        assert spool.is_full()
        assert "9000 of 10000 bytes" in str(spool.objection())
        spool.append_and_wait(record(9, 1000))  # an answer that was on its way
        with pytest.raises(SpoolFull, match="10000 of 10000 bytes"):
            spool.append_and_wait(record(10, 1000))
        assert len(drained(spool)) == 10
    finally:
        spool.close()


def test_it_takes_more_once_it_was_drained(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", max_bytes=10_000)
    drain = SpoolDrain.open(spool.path)
    try:
        for number in range(10):
            spool.append_and_wait(record(number, 1000))
        batch = drain.read_batch(4)
        drain.delete_through(batch[-1][0])
        drain.delete_through(batch[-1][0])
        until(lambda: spool.objection() is None)
        assert (spool.depth_records, spool.depth_bytes) == (6, 6000)
        spool.append_and_wait(record(10, 1000))
        assert [r.key for _, r in drain.read_batch(100)] == [f"key-{n}" for n in range(4, 11)]
    finally:
        drain.close()
        spool.close()


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    for round_number in range(3):
        spool = Spool.open(tmp_path / "spool.db", MIB)
        assert spool.depth_records == 2 * round_number
        for number in range(3):
            spool.append_and_wait(record(number))
        drain = SpoolDrain.open(spool.path)
        drain.delete_through(drain.read_batch(1)[-1][0])
        drain.close()
        spool.close()


def test_ids_are_never_used_again_so_a_late_deletion_cannot_hit_a_new_record(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", MIB)
    spool.append_and_wait(record(1))
    drain = SpoolDrain.open(spool.path)
    (first_id, _), *_ = drain.read_batch(10)
    drain.delete_through(first_id)
    spool.close()
    spool = Spool.open(tmp_path / "spool.db", MIB)
    spool.append_and_wait(record(2))
    drain.delete_through(first_id)
    assert [r for _, r in drain.read_batch(10)] == [record(2)]
    drain.close()
    spool.close()


def test_closing_writes_what_was_appended_and_refuses_the_rest(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", MIB)

    async def append_and_close() -> None:
        futures = [spool.append(record(n)) for n in range(100)]
        await asyncio.to_thread(spool.close)
        await asyncio.gather(*futures)

    asyncio.run(append_and_close())
    spool.close()
    with pytest.raises(Unavailable, match="closed"):
        spool.append_and_wait(record(1))
    assert len(drained(spool)) == 100


def test_a_second_gateway_on_the_same_file_is_refused(spool: Spool) -> None:
    with pytest.raises(BadConfig, match="another process appends"):
        Spool.open(spool.path, MIB, wait_seconds=0.1)


def test_a_second_drain_waits_for_the_first(spool: Spool) -> None:
    first = SpoolDrain.open(spool.path)
    with pytest.raises(Unavailable, match="another process drains"):
        SpoolDrain.open(spool.path)
    first.close()
    SpoolDrain.open(spool.path).close()


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"not a database, for sure" * 1000)
    with pytest.raises(Unusable, match="move it away"):
        Spool.open(tmp_path / "spool.db", MIB)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be"):
        Spool.open(tmp_path / "file" / "spool.db", MIB)


def test_a_full_disk_is_told_and_over_by_itself(tmp_path: Path) -> None:
    """A file-size limit makes the kernel refuse the writes, as a full disk does."""
    spool = Spool.open(tmp_path / "spool.db", 100 * MIB)
    spool.append_and_wait(record(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
        with pytest.raises(Unavailable, match="cannot be used now"):
            spool.append_and_wait(record(1, MIB))
        assert "cannot be written" in str(spool.objection())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    until(lambda: spool.objection() is None)
    spool.append_and_wait(record(3))
    assert drained(spool) == [record(0), record(3)]
    assert (spool.depth_records, spool.depth_bytes) == (2, 200)
    spool.close()


APPENDING = """
import asyncio, sys
from pathlib import Path
from shared.bus import Outgoing
from shared.sqlite_log import Spool

async def main():
    spool = Spool.open(Path(sys.argv[1]), 10**9)

    async def one(name):
        for number in range(10**9):
            await spool.append(Outgoing("ratchet.answers", f"{name}-{number}", b"x" * 500))
            print(f"{name}-{number}", flush=True)  # told to the world: it must be there after the kill

    await asyncio.gather(*[one(name) for name in "abcdefgh"])

asyncio.run(main())
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    acknowledged: list[str] = []
    for kill in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert child.stdout is not None
        acknowledged += [f"{kill}:" + child.stdout.readline().strip() for _ in range(100 + 37 * kill)]
        child.kill()
        acknowledged += [f"{kill}:{line.strip()}" for line in child.stdout.readlines() if line.endswith("\n")]
        child.wait()
        spool = Spool.open(path, 10**9)
        drain = SpoolDrain.open(path)
        batch = drain.read_batch(100_000)
        kept = {f"{kill}:{outgoing.key}" for _, outgoing in batch}
        assert {a for a in acknowledged if a.startswith(f"{kill}:")} <= kept
        assert all(outgoing.value == b"x" * 500 for _, outgoing in batch)
        drain.delete_through(batch[-1][0])
        drain.close()
        spool.close()
