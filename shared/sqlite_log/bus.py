"""The embedded bus: topics, partitions, offsets and consumer groups in one SQLite file.

Several processes publish and consume at once. A topic of a group is read by one member at a time: a second member
waits, and takes over from the group's last commit within a quarter of a second after the first closes or dies (also by
kill -9). A member that is stopped but alive keeps its topics. Records older than a topic's retention are trimmed.
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.bus import Outgoing, Position, Record, refuse_unusable
from shared.errors import BadConfig
from shared.sqlite_log.file import WATCH_SECONDS, FileLock, Watch, connect, errors_told, writing
from shared.topics import TOPICS

# A record's rowid is partition id * SPAN + offset: one integer key, no second index, a partition lies together.
SPAN = 2**40
TRIM_SECONDS = 60.0
TRIM_RECORDS = 1000  # so that one trim never holds the file for long
JOIN_SECONDS = 0.25
POLL_BYTES = 16 * 2**20  # a poll stops here, however few records that is: memory is bounded

SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    UNIQUE (topic, partition));
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commits (
    member_of TEXT NOT NULL, partition_id INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (member_of, partition_id)) WITHOUT ROWID
"""


class SqliteBus:
    """Safe to share between threads. Consumers have connections of their own."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._lock = threading.Lock()
        self._connection = connect(path, SCHEMA)
        self._trimmed_at = 0.0
        self._partitions: dict[str, list[int]] = {}  # topic -> ids, in the order of partitions
        self.ensure_topics()

    @classmethod
    def open(cls, url: str) -> "SqliteBus":
        """url: `sqlite:///abs/path/bus.db`; the file and its folder are made when missing."""
        path = unquote(urlsplit(url).path)
        if not path.startswith("/") or len(path) < 2:
            raise BadConfig(f"bus {url!r}: it should look like sqlite:////var/lib/ratchet/bus.db, an absolute path")
        return cls(Path("/" + path.lstrip("/")))

    def publish(self, records: Sequence[Outgoing]) -> None:
        refuse_unusable(records)
        if not records:
            return
        with self._lock:
            with writing(self._connection, self._path):
                self._append(records)
            if self._now() - self._trimmed_at > TRIM_SECONDS:
                self._trimmed_at = self._now()
                self._trim()

    def consumer(
        self, group: str, topics: Sequence[str], starting_at: Callable[[], Mapping[Position, int]] | None = None
    ) -> "SqliteConsumer":
        return SqliteConsumer(self._path, group, topics, starting_at)

    def history(self, topic: str) -> Iterator[Record]:
        connection = connect(self._path, SCHEMA)
        try:
            with errors_told(self._path):
                query = "SELECT id, partition, next_offset FROM partitions WHERE topic = ?"
                for partition_id, number, end in connection.execute(query, (topic,)).fetchall():
                    base = partition_id * SPAN
                    rows = connection.execute(
                        "SELECT position, key, value FROM records WHERE position >= ? AND position < ?",
                        (base, base + end),
                    )
                    for position, key, value in rows:
                        yield Record(topic, number, position - base, key, value)
        finally:
            connection.close()

    def ensure_topics(self) -> None:
        wanted = [(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
        with self._lock:
            with writing(self._connection, self._path):
                self._connection.executemany("INSERT OR IGNORE INTO partitions VALUES (NULL, ?, ?, 0)", wanted)
                rows = self._connection.execute("SELECT topic, id FROM partitions ORDER BY topic, partition").fetchall()
            self._partitions = {topic.name: [] for topic in TOPICS}
            for topic, partition_id in rows:
                self._partitions.setdefault(topic, []).append(partition_id)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _append(self, records: Sequence[Outgoing]) -> None:
        offsets: dict[int, int] = dict(self._connection.execute("SELECT id, next_offset FROM partitions"))
        touched, rows, at_ms = set(), [], int(self._now() * 1000)
        for record in records:
            ids = self._partitions[record.topic]
            partition_id = ids[zlib.crc32(record.key.encode()) % len(ids)]
            rows.append((partition_id * SPAN + offsets[partition_id], at_ms, record.key, record.value))
            offsets[partition_id] += 1
            touched.add(partition_id)
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        ends = [(offsets[partition_id], partition_id) for partition_id in touched]
        self._connection.executemany("UPDATE partitions SET next_offset = ? WHERE id = ?", ends)

    def _trim(self) -> None:
        """Deletes what is older than its topic's retention, a limited number a call; the caller holds the lock."""
        for topic in TOPICS:
            oldest_ms = int((self._now() - topic.retention_days * 86400) * 1000)
            for partition_id in self._partitions[topic.name]:
                first, end = partition_id * SPAN, (partition_id + 1) * SPAN
                query = "SELECT position, at_ms FROM records WHERE position >= ? AND position < ? LIMIT ?"
                with errors_told(self._path):
                    rows = self._connection.execute(query, (first, end, TRIM_RECORDS)).fetchall()
                last = max((position for position, at_ms in rows if at_ms < oldest_ms), default=None)
                if last is not None:
                    with writing(self._connection, self._path):
                        self._connection.execute(
                            "DELETE FROM records WHERE position >= ? AND position <= ?", (first, last)
                        )


class SqliteConsumer:
    """One member of a group. `poll` joins: it takes the topics that no other member holds."""

    def __init__(
        self,
        path: Path,
        group: str,
        topics: Sequence[str],
        starting_at: Callable[[], Mapping[Position, int]] | None,
    ) -> None:
        self._path, self._group, self._starting_at = path, group, starting_at
        # NORMAL: a group's commit that a power cut loses is only a batch delivered again.
        self._connection = connect(path, SCHEMA, synchronous="NORMAL")
        self._watch = Watch(self._connection)
        self._locks: dict[str, FileLock | None] = dict.fromkeys(topics)
        self._ids: dict[Position, int] = {}  # of the assigned partitions
        self._next: dict[Position, int] = {}
        self._joined_at = 0.0
        self._more = True  # there may be records that were not read yet
        self._turn = 0

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        deadline = time.monotonic() + timeout_seconds
        with errors_told(self._path):
            while True:
                self._join()
                if self._watch.changed() or self._more:
                    records = self._read(max_records)
                    if records:
                        return records
                    self._more = False
                left = deadline - time.monotonic()
                if left <= 0:
                    return []
                time.sleep(min(WATCH_SECONDS, left))

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        rows = [(self._group, self._ids[p], offset) for p, offset in next_offsets.items() if p in self._ids]
        with writing(self._connection, self._path):
            self._connection.executemany("INSERT OR REPLACE INTO commits VALUES (?, ?, ?)", rows)

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        with errors_told(self._path):
            ends = self._ends()
        for position, offset in next_offsets.items():
            if position in self._ids:
                # Beyond the end: the log was begun anew since. Read all of it, consumers know what they had.
                self._next[position] = offset if offset <= ends[self._ids[position]] else 0
        self._more = True

    def lag(self) -> int:
        with errors_told(self._path):
            ends, committed = self._ends(), self._committed()
            return sum(max(0, ends[i] - max(committed.get(i, 0), self._first_of(i))) for i in self._ids.values())

    def close(self) -> None:
        self._connection.close()
        for lock in self._locks.values():
            if lock is not None:
                lock.release()

    def _join(self) -> None:
        """Takes the topics that became free, and begins there at the group's commit, or where `starting_at` says."""
        free = [topic for topic, lock in self._locks.items() if lock is None]
        if not free or time.monotonic() - self._joined_at < JOIN_SECONDS:
            return
        self._joined_at = time.monotonic()
        gained = []
        for topic in free:
            folder = self._path.with_name(self._path.name + ".members")
            self._locks[topic] = FileLock.acquire(folder / f"{self._group}--{topic}.lock")
            if self._locks[topic] is not None:
                gained.append(topic)
        if gained:
            self._assign(gained)

    def _assign(self, gained: Sequence[str]) -> None:
        committed = self._committed()
        for partition_id, topic, number in self._connection.execute("SELECT id, topic, partition FROM partitions"):
            if topic in gained:
                self._ids[topic, number] = partition_id
                self._next[topic, number] = committed.get(partition_id, 0) if self._starting_at is None else 0
        mine = {position: offset for position, offset in self._next.items() if position[0] in gained}
        if self._starting_at is not None:
            mine |= {position: offset for position, offset in self._starting_at().items() if position in mine}
        self.seek(mine)

    def _read(self, max_records: int) -> list[Record]:
        """From each partition in turn; the first in line changes so that a busy one cannot starve the rest."""
        positions = list(self._ids)
        self._turn += 1
        found: list[Record] = []
        size = 0
        for step in range(len(positions)):
            position = positions[(self._turn + step) % len(positions)]
            base = self._ids[position] * SPAN
            rows = self._connection.execute(
                "SELECT position, key, value FROM records WHERE position >= ? AND position < ? LIMIT ?",
                (base + self._next[position], base + SPAN, max_records - len(found)),
            )
            for row, key, value in rows:
                found.append(Record(*position, row - base, key, value))
                self._next[position] = row - base + 1
                size += len(value)
                if size >= POLL_BYTES:
                    rows.close()
                    break
            if size >= POLL_BYTES or len(found) >= max_records:
                break
        self._more = bool(found)
        return found

    def _ends(self) -> dict[int, int]:
        return dict(self._connection.execute("SELECT id, next_offset FROM partitions"))

    def _committed(self) -> dict[int, int]:
        query = "SELECT partition_id, next_offset FROM commits WHERE member_of = ?"
        return dict(self._connection.execute(query, (self._group,)))

    def _first_of(self, partition_id: int) -> int:
        query = "SELECT min(position) FROM records WHERE position >= ? AND position < ?"
        (first,) = self._connection.execute(query, (partition_id * SPAN, (partition_id + 1) * SPAN)).fetchone()
        return 0 if first is None else int(first) - partition_id * SPAN
