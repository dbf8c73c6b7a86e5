"""The file under both uses: how it is opened, written, watched and locked, and how its errors are told.

A full disk, an I/O error or a lock held too long is Unavailable and leaves nothing half-written; a file that is damaged
or no database at all is Unusable, with what to do; anything else is a bug and crashes.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Unavailable, Unusable

WATCH_SECONDS = 0.02  # a waiting reader looks this often; one look costs about 5 us

_FOR_NOW = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_FOR_EVER = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def connect(path: Path, schema: str, *, synchronous: str = "FULL", checkpoint_pages: int = 1000) -> sqlite3.Connection:
    """A connection in autocommit mode, the file and its tables made when missing. Raises Unavailable or Unusable."""
    with errors_told(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{path.parent} cannot be made: {error}") from error
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
        try:
            _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL"))
            connection.execute(f"PRAGMA synchronous={synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint={checkpoint_pages}")
            connection.execute(f"PRAGMA journal_size_limit={64 * 2**20}")
            _patiently(lambda: connection.executescript(f"BEGIN IMMEDIATE; {schema}; COMMIT"))
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """One transaction, durable when the block ends; nothing of it is kept when the block or the commit fails."""
    with errors_told(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def errors_told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in _FOR_NOW:
            raise Unavailable(f"{path} cannot be used now: {error}") from error
        if code in _FOR_EVER:
            raise Unusable(f"{path} is damaged ({error}); move it away, keep it for repair, and start again") from error
        raise


class Watch:
    """Tells a reader's connection whether another connection has committed since it last asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen = -1

    def changed(self) -> bool:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed = version != self._seen
        self._seen = version
        return bool(changed)


class FileLock:
    """Held until released or until this process dies, kill -9 included: the kernel keeps it, no clock is involved."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def acquire(cls, path: Path) -> "FileLock | None":
        """None when another holder, in this process or another, has it. The file stays behind; it means nothing."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(f"{path} cannot be opened: {error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return cls(handle)

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _patiently(step: Callable[[], object], seconds: float = 10.0) -> None:
    """SQLite does not wait by itself while another process switches the same new file to WAL mode."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            step()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
