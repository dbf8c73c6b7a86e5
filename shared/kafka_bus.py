"""The bus on Kafka. The only file that knows kafka-python.

No idempotent producer: kafka-python 3.0 wedges for ever with it once a sent batch times out; event ids find duplicates
instead. One request in flight keeps the order per key. Each publish waits for its acknowledgements, so memory is
bounded; one that gets none in time abandons its producer and the next call builds another. `publish` and `poll` block
for seconds while the broker is away, and the client's thread spins: never call them on a request path or an event loop.
A lone broker with acks=all survives kill -9, not a power cut.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
)

from shared.bus import MAX_RECORD_BYTES, Outgoing, Position, Record, refuse_unusable
from shared.errors import BadConfig, Unavailable, Unusable
from shared.topics import TOPICS

log = logging.getLogger(__name__)

ROOM_BYTES = 64 * 1024  # what the wire format adds to a record, generously
UNACKED_BYTES = 8 * 2**20  # the client itself has no limit: 300,000 sends into a stalled broker took 968 MB
WATCHDOG_SECONDS = 5.0  # past the delivery timeout a future that is still open will never resolve
_FOR_EVER = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)


class KafkaBus:
    """Safe to share between threads. Connects at the first use, not when it is made."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        api_version: tuple[int, ...] | None = None,
        replication: int = -1,
        delivery_timeout_seconds: float = 30.0,
        session_timeout_seconds: float = 10.0,
    ) -> None:
        """api_version: None asks the broker. replication: of new topics; -1 is the broker's default."""
        self._servers, self._replication = list(servers), replication
        self._delivery_timeout_seconds = delivery_timeout_seconds
        self._session_timeout_seconds = session_timeout_seconds
        self._common: dict[str, Any] = {
            "bootstrap_servers": self._servers,
            "api_version": api_version,
            "bootstrap_timeout_ms": 10_000,
            "reconnect_backoff_max_ms": 2_000,
        }
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None

    @classmethod
    def open(cls, url: str) -> "KafkaBus":
        """url: `kafka://host:port[,host:port][?option=value&...]`, the options being those of the constructor."""
        parts = urlsplit(url)
        servers = [server for server in parts.netloc.split(",") if server]
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            options = {name: _OPTIONS[name](text) for name, text in given.items()}
        except (KeyError, ValueError):
            servers = []
        if not servers or not all(_is_address(server) for server in servers):
            known = ", ".join(_OPTIONS)
            raise BadConfig(f"bus {url!r}: it should look like kafka://host:9092?api_version=2.1; options: {known}")
        return cls(servers, **options)

    def publish(self, records: Sequence[Outgoing]) -> None:
        refuse_unusable(records)
        for piece in _pieces(records):
            self._publish(piece)

    def consumer(
        self, group: str, topics: Sequence[str], starting_at: Callable[[], Mapping[Position, int]] | None = None
    ) -> "KafkaGroupMember":
        membership = {
            "group_id": group,
            "session_timeout_ms": int(self._session_timeout_seconds * 1000),
            "heartbeat_interval_ms": int(self._session_timeout_seconds * 1000 / 3),
        }
        return KafkaGroupMember(self._common | membership, topics, starting_at)

    def history(self, topic: str) -> Iterator[Record]:
        with _told_as_unavailable("reading"):
            consumer = KafkaConsumer(**self._common, auto_offset_reset="earliest", enable_auto_commit=False)
            try:
                partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
                consumer.assign(partitions)
                consumer.seek_to_beginning(*partitions)
                ends = consumer.end_offsets(partitions)
                while any(consumer.position(partition) < ends[partition] for partition in partitions):
                    yield from _records(consumer.poll(timeout_ms=1000, max_records=500))
            finally:
                consumer.close()

    def ensure_topics(self) -> None:
        """Partitions of topics that exist stay as they are; an operator may have added some."""
        with _told_as_unavailable("making topics"):
            admin = KafkaAdminClient(**self._common)
            try:
                there = set(admin.list_topics())
                for topic in TOPICS:
                    if topic.name not in there:
                        _create(admin, topic.name, topic.partitions, topic.retention_days, self._replication)
            finally:
                admin.close()

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _let_go(producer)

    def _publish(self, records: Sequence[Outgoing]) -> None:
        producer = self._connected()
        deadline = time.monotonic() + self._delivery_timeout_seconds + WATCHDOG_SECONDS
        sent: list[Any] = []
        refused: KafkaError | None = None
        with _told_as_unavailable("publishing"):
            try:
                sent.extend(producer.send(r.topic, key=r.key.encode(), value=r.value) for r in records)
            except KafkaError as error:  # no metadata in time; what was sent before may still arrive
                refused = error
            for future in sent:
                try:
                    future.get(timeout=max(0.0, deadline - time.monotonic()))
                except KafkaError as error:
                    refused = refused or error
            if not all(future.is_done for future in sent):
                self._abandon(producer)
            if isinstance(refused, _FOR_EVER):
                raise Unusable(f"the broker can never take a record for {records[0].topic}: {refused}") from refused
            if refused is not None:
                raise refused

    def _connected(self) -> KafkaProducer:
        with self._lock, _told_as_unavailable("connecting"):
            if self._producer is None:
                self._producer = KafkaProducer(
                    **self._common,
                    enable_idempotence=False,
                    acks="all",
                    max_in_flight_requests_per_connection=1,
                    linger_ms=10,
                    batch_size=131072,
                    max_request_size=MAX_RECORD_BYTES + ROOM_BYTES,
                    max_block_ms=int(self._delivery_timeout_seconds * 1000),
                    request_timeout_ms=int(self._delivery_timeout_seconds * 1000 / 3),
                    delivery_timeout_ms=int(self._delivery_timeout_seconds * 1000),
                    allow_auto_create_topics=False,
                )
            return self._producer

    def _abandon(self, producer: KafkaProducer) -> None:
        log.warning("the Kafka producer is stuck; it is abandoned, the next publish makes a new one")
        with self._lock:
            if self._producer is producer:
                self._producer = None
        threading.Thread(target=_let_go, args=(producer,), name="kafka-abandoned", daemon=True).start()


class KafkaGroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of a consumer group. Connects and joins at its first poll."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Sequence[str],
        starting_at: Callable[[], Mapping[Position, int]] | None,
    ) -> None:
        self._settings, self._topics, self._starting_at = settings, list(topics), starting_at
        self._consumer: KafkaConsumer | None = None
        self._newly_assigned = threading.Event()
        self._committed: dict[TopicPartition, int] = {}

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing: what is being handled commits with its own transaction, or is delivered to the next owner."""

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Runs on the client's own loop, where a look into a database would hold up heartbeats; so only a mark."""
        if assigned:
            self._newly_assigned.set()

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        with _told_as_unavailable("reading"):
            consumer = self._joined()
            records = _records(consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=max_records))
            if self._newly_assigned.is_set():
                self._newly_assigned.clear()
                self._committed.clear()
                if self._starting_at is not None:
                    self._start(consumer, self._starting_at())
                    return []  # what was fetched began at the bus's own commit; the next poll begins where it should
            return list(records)

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        with _told_as_unavailable("committing"):
            consumer = self._joined()
            mine = consumer.assignment()
            offsets = {TopicPartition(*p): offset for p, offset in next_offsets.items() if TopicPartition(*p) in mine}
            if offsets:
                consumer.commit({p: OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}, 10_000)
                self._committed |= offsets

    def seek(self, next_offsets: Mapping[Position, int]) -> None:
        with _told_as_unavailable("seeking"):
            self._seek(self._joined(), next_offsets)

    def lag(self) -> int:
        with _told_as_unavailable("asking for the lag"):
            consumer = self._joined()
            mine = list(consumer.assignment())
            ends = {p: consumer.highwater(p) for p in mine}  # of the last fetch; no round trip
            ends |= consumer.end_offsets([p for p, end in ends.items() if end is None], timeout_ms=5000)
            return sum(max(0, ends[p] - self._committed_of(consumer, p)) for p in mine)

    def close(self) -> None:
        if self._consumer is not None:
            with suppress(KafkaError):
                self._consumer.close(autocommit=False, timeout_ms=3000)
            self._consumer = None

    def _joined(self) -> KafkaConsumer:
        if self._consumer is None:
            consumer = KafkaConsumer(
                **self._settings,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                max_partition_fetch_bytes=MAX_RECORD_BYTES + ROOM_BYTES,
                fetch_max_wait_ms=200,
                allow_auto_create_topics=False,
            )
            consumer.subscribe(self._topics, listener=self)
            self._consumer = consumer
        return self._consumer

    def _start(self, consumer: KafkaConsumer, next_offsets: Mapping[Position, int]) -> None:
        """Every assigned partition afresh: where it is told to, else at the group's commit, else at its beginning."""
        told = {TopicPartition(*p) for p in next_offsets}
        for partition in consumer.assignment() - told:
            committed = consumer.committed(partition, timeout_ms=10_000)
            if committed is None:
                consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, committed)
        self._seek(consumer, next_offsets)

    def _seek(self, consumer: KafkaConsumer, next_offsets: Mapping[Position, int]) -> None:
        mine = consumer.assignment()
        wanted = {TopicPartition(*p): offset for p, offset in next_offsets.items() if TopicPartition(*p) in mine}
        ends = consumer.end_offsets(list(wanted), timeout_ms=10_000) if wanted else {}
        for partition, offset in wanted.items():
            if offset > ends[partition]:  # another log than the one these offsets were counted in
                consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, offset)

    def _committed_of(self, consumer: KafkaConsumer, partition: TopicPartition) -> int:
        if partition not in self._committed:
            committed = consumer.committed(partition, timeout_ms=5000)
            if committed is None:
                committed = consumer.beginning_offsets([partition], timeout_ms=5000)[partition]
            self._committed[partition] = committed
        return self._committed[partition]


@contextmanager
def _told_as_unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka, {doing}: {type(error).__name__}: {error}") from error


def _pieces(records: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """The same records in order, in lists of bounded size."""
    piece: list[Outgoing] = []
    size = 0
    for record in records:
        if piece and size + len(record.value) > UNACKED_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(record)
        size += len(record.value)
    if piece:
        yield piece


def _records(polled: Mapping[TopicPartition, Iterable[Any]]) -> list[Record]:
    return [
        Record(
            message.topic,
            message.partition,
            message.offset,
            (message.key or b"").decode("utf-8", "replace"),
            message.value or b"",
        )
        for message in chain.from_iterable(polled.values())
    ]


def _create(admin: KafkaAdminClient, name: str, partitions: int, retention_days: int, replication: int) -> None:
    configs = {
        "retention.ms": str(retention_days * 86_400_000),
        "max.message.bytes": str(MAX_RECORD_BYTES + ROOM_BYTES),
    }
    topic = {"num_partitions": partitions, "replication_factor": replication, "configs": configs}
    with suppress(TopicAlreadyExistsError):  # another service started at the same time
        admin.create_topics({name: topic}, timeout_ms=10_000)


def _let_go(producer: KafkaProducer) -> None:
    """A stuck producer's close() raises and leaves its thread running and spinning; its sender must be told as well."""
    try:
        producer.close(timeout=2)
    except KafkaError:
        producer._sender.force_close()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "api_version": _version,
    "replication": int,
    "delivery_timeout_seconds": float,
    "session_timeout_seconds": float,
}


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536
