"""The spool: a bounded local log between a request and the bus. One process appends, one drains.

`append` resolves after the record is on disk: appends that wait together share one commit, and nothing waits for a
commit that has not begun. Twice: two equal appends are two records. Fails: at the limit SpoolFull; a full or failing
disk is Unavailable (then a record may or may not have been kept), seen in `objection`, and tried again by itself.
Survives kill -9 at any moment: a record is whole or absent.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from shared.bus import Outgoing
from shared.errors import BadConfig, SpoolFull, Unavailable
from shared.sqlite_log.file import WATCH_SECONDS, FileLock, Watch, connect, errors_told, writing

GROUP_RECORDS = 64  # the most that share a commit; larger groups save little more
WRITER_PAGES = 4000  # the drain checkpoints at 1000 pages, so the writer seldom has to
RETRY_SECONDS = 1.0
REFRESH_SECONDS = 0.2
READ_BYTES = 8 * 2**20

SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS drained (through_id INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO drained SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM drained)
"""

_DRAINED = "SELECT through_id, bytes FROM drained"

# One statement a group: sqlite3 lets go of the interpreter lock once, not once a record, and needs no BEGIN.
_INSERT = [
    "INSERT INTO spool VALUES " + ",".join(["(?, ?, ?, ?)"] * records) if records else ""
    for records in range(GROUP_RECORDS + 1)
]

_Waiter = tuple[Outgoing, Any, asyncio.AbstractEventLoop | None]  # record, its future, the loop it belongs to


class Spool:
    """The appending end. Safe to use from event loops and threads of one process."""

    def __init__(self, path: Path, max_bytes: int, lock: FileLock) -> None:
        self.path, self.max_bytes = path, max_bytes
        self._file_lock = lock
        self._queue: queue.SimpleQueue[_Waiter | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._pending_records = self._pending_bytes = 0  # appended, not yet committed
        self._next_id = 1
        self._bytes_ever = 0  # committed since the file was made; what was drained of it stands in the file
        self._through_id = self._bytes_drained = 0
        self._failure: str | None = None
        self._closed = False
        self._connection = self._connect()
        self._refreshed_at = 0.0
        self._writer = threading.Thread(target=self._write, name="spool-writer", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path, max_bytes: int, wait_seconds: float = 5.0) -> "Spool":
        """Makes the file when missing. BadConfig when another process appends to it and does not let go in time."""
        deadline = time.monotonic() + wait_seconds
        while (lock := FileLock.acquire(path.with_name(path.name + ".writer.lock"))) is None:
            if time.monotonic() > deadline:
                raise BadConfig(f"another process appends to {path}; give each gateway a data folder of its own")
            time.sleep(0.05)
        try:
            return cls(path, max_bytes, lock)
        except BaseException:
            lock.release()
            raise

    def append(self, record: Outgoing) -> "asyncio.Future[None]":
        """For an event loop: done when the record is durable. Raises SpoolFull or Unavailable at once when it can."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._accept(record, future, loop)
        return future

    def append_and_wait(self, record: Outgoing, timeout_seconds: float = 30.0) -> None:
        """For a thread: returns when the record is durable. TimeoutError leaves open whether it was kept."""
        future: Future[None] = Future()
        self._accept(record, future, None)
        future.result(timeout_seconds)

    def is_full(self) -> bool:
        """Ask before the work begins: true a tenth before the end, so that answers on their way still fit."""
        return self.depth_bytes >= self.max_bytes - self.max_bytes // 10

    def objection(self) -> str | None:
        """Why nothing should be appended now, as a sentence; None when all is well. Cheap; for readiness too."""
        if self._failure is not None:
            return self._failure
        if self.is_full():
            return f"the spool is full: {self.depth_bytes} of {self.max_bytes} bytes wait for the bus"
        return None

    @property
    def depth_records(self) -> int:
        return self._next_id - 1 - self._through_id + self._pending_records

    @property
    def depth_bytes(self) -> int:
        """Bytes of values, not of the file, which is up to twice as large and does not shrink."""
        return self._bytes_ever - self._bytes_drained + self._pending_bytes

    def close(self) -> None:
        """Writes what was appended, then lets go of the file. Twice: harmless."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._writer.join()

    def _accept(self, record: Outgoing, future: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        if self._closed:
            raise Unavailable("the spool is closed: this process is stopping")
        size = len(record.value)
        with self._counting:
            if self.depth_bytes + size > self.max_bytes:
                raise SpoolFull(f"the spool is full: {self.depth_bytes} of {self.max_bytes} bytes wait for the bus")
            self._pending_records += 1
            self._pending_bytes += size
        self._queue.put((record, future, loop))

    def _write(self) -> None:
        """The writer thread: a group after the other; between them, what was drained and whether a failure is over."""
        open_for_more = True
        while open_for_more:
            group, open_for_more = self._next_group()
            if group:
                self._keep(group)
            elif self._failure is not None:
                self._try_again()
            if self._failure is None and time.monotonic() - self._refreshed_at > REFRESH_SECONDS:
                self._refresh()
        self._connection.close()
        self._file_lock.release()

    def _next_group(self) -> tuple[list[_Waiter], bool]:
        idle = RETRY_SECONDS if self._failure else REFRESH_SECONDS if self.depth_records else None
        group: list[_Waiter] = []
        try:
            item = self._queue.get(timeout=idle)
            while item is not None:
                group.append(item)
                if len(group) == GROUP_RECORDS:
                    return group, True
                item = self._queue.get_nowait()
        except queue.Empty:
            return group, True
        return group, False

    def _keep(self, group: list[_Waiter]) -> None:
        error: BaseException | None = None
        values: list[Any] = []
        for number, (record, _, _) in enumerate(group):
            values += (self._next_id + number, record.topic, record.key, record.value)
        size = sum(len(record.value) for record, _, _ in group)
        try:
            if self._failure is not None:
                self._reconnect()
            with errors_told(self.path):
                self._connection.execute(_INSERT[len(group)], values)
        except Exception as raised:
            error = raised
            self._failure = f"the spool cannot be written: {raised}"
        with self._counting:
            self._pending_records -= len(group)
            self._pending_bytes -= size
            if error is None:
                self._failure = None
                self._next_id += len(group)
                self._bytes_ever += size
        _settle(group, error)

    def _try_again(self) -> None:
        try:
            self._reconnect()
            with writing(self._connection, self.path):
                self._connection.execute("UPDATE drained SET bytes = bytes")
        except Exception as error:
            self._failure = f"the spool cannot be written: {error}"
        else:
            self._failure = None

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, SCHEMA, checkpoint_pages=WRITER_PAGES)
        with errors_told(self.path):
            (last,) = connection.execute("SELECT max(id) FROM spool").fetchone()
            (waiting,) = connection.execute("SELECT coalesce(sum(length(value)), 0) FROM spool").fetchone()
            self._through_id, self._bytes_drained = connection.execute(_DRAINED).fetchone()
        self._next_id = max(last or 0, self._through_id) + 1
        self._bytes_ever = self._bytes_drained + waiting
        return connection

    def _reconnect(self) -> None:
        """After an I/O error the file, not this process's memory, says what was kept."""
        self._connection.close()
        self._connection = self._connect()

    def _refresh(self) -> None:
        """What the drain, perhaps another process, has taken since."""
        self._refreshed_at = time.monotonic()
        try:
            with errors_told(self.path):
                self._through_id, self._bytes_drained = self._connection.execute(_DRAINED).fetchone()
        except Unavailable as error:
            self._failure = f"the spool cannot be read: {error}"


class SpoolDrain:
    """The other end: reads the oldest records and deletes them once they are safe elsewhere. Used by one thread."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path, self._lock = path, lock
        self._connection = connect(path, SCHEMA)
        self._watch = Watch(self._connection)

    @classmethod
    def open(cls, path: Path) -> "SpoolDrain":
        """Raises Unavailable while another drain has the file."""
        lock = FileLock.acquire(path.with_name(path.name + ".drain.lock"))
        if lock is None:
            raise Unavailable(f"another process drains {path}")
        try:
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    def read_batch(self, max_records: int) -> list[tuple[int, Outgoing]]:
        """The oldest records with their ids, again and again until they are deleted; fewer when they are large."""
        batch: list[tuple[int, Outgoing]] = []
        size = 0
        with errors_told(self.path):
            rows = self._connection.execute("SELECT * FROM spool ORDER BY id LIMIT ?", (max_records,))
            for record_id, topic, key, value in rows:
                batch.append((record_id, Outgoing(topic, key, value)))
                size += len(value)
                if size >= READ_BYTES:
                    break
            rows.close()
        return batch

    def delete_through(self, record_id: int) -> None:
        """Deletes this record and every older one. Twice: harmless."""
        with writing(self._connection, self.path):
            query = "SELECT max(id), sum(length(value)) FROM spool WHERE id <= ?"
            last, size = self._connection.execute(query, (record_id,)).fetchone()
            if last is not None:
                self._connection.execute("DELETE FROM spool WHERE id <= ?", (last,))
                self._connection.execute("UPDATE drained SET through_id = ?, bytes = bytes + ?", (last, size))

    def wait(self, timeout_seconds: float) -> None:
        """Returns when something may have been appended since the last wait, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        with errors_told(self.path):
            while not self._watch.changed() and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(WATCH_SECONDS, left))

    def close(self) -> None:
        self._connection.close()
        self._lock.release()


def _settle(group: Sequence[_Waiter], error: BaseException | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop | None, list[Any]] = {}
    for _, future, loop in group:
        by_loop.setdefault(loop, []).append(future)
    for loop, futures in by_loop.items():
        if loop is None:
            _resolve(futures, error)
            continue
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, futures, error)


def _resolve(futures: Sequence[Any], error: BaseException | None) -> None:
    for future in futures:
        if future.done():  # the caller went away; its record stays
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(type(error)(str(error)) if isinstance(error, Unavailable) else error)
