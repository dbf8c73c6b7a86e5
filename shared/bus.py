"""The bus: what every service may assume of it, whichever implementation carries it.

Promises, checked by one contract suite on each implementation:
* `publish` returns only after every record is durable, in order per key; it raises Unavailable when it cannot say so,
  and then some of them may still have been written: at least once, consumers deduplicate on the event id.
* a consumer group sees every record of its topics from the earliest one on, each partition in order, and again from
  the last commit after a restart. Nothing is committed unless `commit` is called.
* a record too large for the bus raises Unusable and writes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from shared.errors import BadConfig, Unusable
from shared.topics import MAX_RECORD_BYTES as MAX_RECORD_BYTES
from shared.topics import TOPICS


@dataclass(frozen=True, slots=True)
class Outgoing:
    topic: str
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


Position = tuple[str, int]  # topic, partition


class Consumer(Protocol):
    """One member of a group. Used by one thread."""

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """Up to max_records, at least one unless the timeout passed; raises Unavailable."""
        ...

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """The group goes on from these offsets after a restart; raises Unavailable."""
        ...

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        """Read on from these offsets; positions of partitions that are not assigned are ignored."""
        ...

    def lag(self) -> int:
        """Records of the group's assigned partitions that are not yet committed; an estimate on a live bus."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    def publish(self, records: Sequence[Outgoing]) -> None: ...

    def consumer(
        self, group: str, topics: Sequence[str], starting_at: Callable[[], Mapping[Position, int]] | None = None
    ) -> Consumer:
        """A new member of the group; it joins at its first poll.

        starting_at: asked whenever partitions are assigned to this member, and the only one who knows then: what it
        names is read from there, the rest from the beginning, whatever the group committed (the database may be a new
        one). An offset beyond the log's end means another log: it is read from its beginning.
        """
        ...

    def history(self, topic: str) -> Iterator[Record]:
        """Every record still kept, up to the end as it is now; no group, no commit; raises Unavailable."""
        ...

    def ensure_topics(self) -> None:
        """Creates what is missing of shared.topics.TOPICS; harmless when all are there; raises Unavailable.

        One that exists otherwise than the table says stays as it is, and the log says so.
        """
        ...

    def close(self) -> None: ...


_KNOWN = {topic.name for topic in TOPICS}


def size_of(record: Outgoing) -> int:
    """Bytes as MAX_RECORD_BYTES counts them."""
    return len(record.value) + len(record.key.encode())


def refuse_unusable(records: Sequence[Outgoing]) -> None:
    """Raises Unusable when one of them could never be published, before any is."""
    for record in records:
        if record.topic not in _KNOWN:
            raise Unusable(f"{record.topic!r} is not a topic; known: {', '.join(sorted(_KNOWN))}")
        size = size_of(record)
        if size > MAX_RECORD_BYTES:
            raise Unusable(f"a record of {size} bytes for {record.topic} is over the bus's {MAX_RECORD_BYTES} bytes")


def open_bus(url: str) -> Bus:
    """`sqlite:///abs/path/bus.db` (the embedded bus) or `kafka://host:port[,host:port]`."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from shared.sqlite_log import SqliteBus

        return SqliteBus.open(url)
    if scheme == "kafka":
        from shared.kafka_bus import KafkaBus

        return KafkaBus.open(url)
    raise BadConfig(f"RATCHET_BUS_URL={url!r}: it should start with sqlite:/// or kafka://")
