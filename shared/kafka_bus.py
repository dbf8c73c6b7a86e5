"""The bus on Kafka. The only file that knows kafka-python.

No idempotent producer: kafka-python 3.0 wedges for ever with it once a sent batch times out; event ids find duplicates
instead. One request in flight keeps the order per key. Each publish waits for its acknowledgements, so memory is
bounded; one that gets none in time abandons its producer and the next call builds another. `publish` and `poll` block
for seconds while the broker is away, and the client's thread spins: never call them on a request path or an event loop.
A lone broker with acks=all survives kill -9, not a power cut. Every value is what `shared.bus` was given; beside it
stand CloudEvents' headers, for other readers.
"""

import logging
import re
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
from kafka.admin import ConfigResource
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RebalanceInProgressError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
    for_code,
)

from shared.bus import Outgoing, Position, Record, refuse_unusable
from shared.errors import BadConfig, Unavailable, Unusable
from shared.events import headers_of
from shared.topics import MAX_RECORD_BYTES, ROOM_BYTES, TOPICS, Topic, broker_settings, differences

log = logging.getLogger(__name__)

UNACKED_BYTES = 8 * 2**20  # the client itself has no limit: 300,000 sends into a stalled broker took 968 MB
WATCHDOG_SECONDS = 5.0  # past the delivery timeout a future that is still open will never resolve
PROOF_SECONDS = 5.0  # a consumer that hears nothing asks so often whether broker and topics are there
ANSWER_MS = 10_000  # longest wait for the answer to one question
_FOR_EVER = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)
_CHANGING_HANDS = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class KafkaBus:
    """Safe to share between threads. Connects at the first use, not when it is made."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        api_version: tuple[int, ...] | None = None,
        prefix: str = "",
        replication: int = -1,
        delivery_timeout_seconds: float = 30.0,
        session_timeout_seconds: float = 10.0,
    ) -> None:
        """api_version: None asks the broker. replication: of new topics; -1 is the broker's default.

        prefix: of every topic and group, so that deployments share a cluster. session_timeout_seconds: how long the
        partitions of a consumer that was killed wait for another.
        """
        self._servers, self._prefix, self._replication = list(servers), prefix, replication
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
        self._said: set[str] = set()  # how the topics differ from the table

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
            "group_id": self._prefix + group,
            "session_timeout_ms": int(self._session_timeout_seconds * 1000),
            "heartbeat_interval_ms": int(self._session_timeout_seconds * 1000 / 3),
        }
        return KafkaGroupMember(self._common | membership, self._prefix, topics, starting_at)

    def history(self, topic: str) -> Iterator[Record]:
        with _told_as_unavailable("reading"):
            consumer = KafkaConsumer(
                **self._common,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
            )
            try:
                numbers = consumer.partitions_for_topic(self._prefix + topic) or ()
                partitions = [TopicPartition(self._prefix + topic, number) for number in numbers]
                consumer.assign(partitions)
                consumer.seek_to_beginning(*partitions)
                ends = consumer.end_offsets(partitions, timeout_ms=ANSWER_MS)
                heard_at = time.monotonic()
                while any((consumer.position(p, timeout_ms=1000) or 0) < end for p, end in ends.items()):
                    records = _records(consumer.poll(timeout_ms=1000, max_records=500), self._prefix)
                    if records:
                        yield from records
                        heard_at = time.monotonic()
                    elif time.monotonic() - heard_at > self._delivery_timeout_seconds:
                        raise Unavailable(f"Kafka, reading {topic}: nothing came before its end")
            finally:
                consumer.close()

    def ensure_topics(self) -> None:
        """Topics that exist stay as they are; how they differ from the table is said once."""
        with _told_as_unavailable("making topics"):
            admin = KafkaAdminClient(**self._common)
            try:
                there = self._topics_there(admin)
                self._create(admin, [topic for topic in TOPICS if self._prefix + topic.name not in there])
                self._compare(admin, there)
            finally:
                admin.close()

    def _topics_there(self, admin: KafkaAdminClient) -> dict[str, int]:
        """Name on the broker -> partitions, of ours."""
        described = admin.describe_topics([self._prefix + topic.name for topic in TOPICS])
        return {topic["name"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}

    def _create(self, admin: KafkaAdminClient, missing: Sequence[Topic]) -> None:
        safe = {"min.insync.replicas": str(max(1, self._replication - 1))} if self._replication > 0 else {}
        wanted = {
            self._prefix + topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": self._replication,
                "configs": broker_settings(topic) | safe,
            }
            for topic in missing
        }
        if not wanted:
            return
        for answer in admin.create_topics(wanted, timeout_ms=ANSWER_MS, raise_errors=False)["topics"]:
            refusal = for_code(answer["error_code"])
            if answer["error_code"] and refusal is not TopicAlreadyExistsError:  # another service was quicker
                raise refusal(f"{answer['name']}: {answer['error_message']}")
        admin.wait_for_topics(list(wanted), timeout_ms=ANSWER_MS)  # a broker knows them a moment later

    def _compare(self, admin: KafkaAdminClient, there: Mapping[str, int]) -> None:
        try:
            found = self._differences(admin, there)
        except KafkaError as error:  # not allowed to look, or too old a broker: publishing works all the same
            log.info("how the topics are kept cannot be seen: %s: %s", type(error).__name__, error)
            return
        for sentence in found:
            if sentence not in self._said:
                self._said.add(sentence)
                log.warning("%s", sentence)

    def _differences(self, admin: KafkaAdminClient, there: Mapping[str, int]) -> list[str]:
        names = {self._prefix + topic.name: topic for topic in TOPICS if self._prefix + topic.name in there}
        asked = [ConfigResource("TOPIC", name) for name in names]
        found = admin.describe_configs(asked, config_filter="all")["topic"] if asked else {}
        settings = {name: {key: setting["value"] for key, setting in found.get(name, {}).items()} for name in names}
        return [s for name, topic in names.items() for s in differences(topic, name, there[name], settings[name])]

    def objections(self) -> tuple[list[str], list[str]]:
        """Topics the broker has not, and how the others differ from the table: a look, nothing is made."""
        with _told_as_unavailable("looking at the topics"):
            admin = KafkaAdminClient(**self._common)
            try:
                there = self._topics_there(admin)
                missing = [self._prefix + t.name for t in TOPICS if self._prefix + t.name not in there]
                return missing, self._differences(admin, there)
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
                sent.extend(self._send(producer, record) for record in records)
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

    def _send(self, producer: KafkaProducer, record: Outgoing) -> Any:
        topic = self._prefix + record.topic
        try:
            return producer.send(topic, key=record.key.encode(), value=record.value, headers=headers_of(record.value))
        except KafkaTimeoutError as error:
            raise KafkaTimeoutError(f"the broker is away, or it has no topic {topic}: {error}") from error

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
        prefix: str,
        topics: Sequence[str],
        starting_at: Callable[[], Mapping[Position, int]] | None,
    ) -> None:
        self._settings, self._prefix, self._starting_at = settings, prefix, starting_at
        self._topics = [prefix + topic for topic in topics]
        self._consumer: KafkaConsumer | None = None
        self._heard_at = time.monotonic()
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
            _finish_rebalance(consumer)
            polled = consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
            records = _records(polled, self._prefix)
            if records:
                self._heard_at = time.monotonic()
            elif time.monotonic() - self._heard_at > PROOF_SECONDS:
                self._ask_whether_all_is_there(consumer)
            if self._newly_assigned.is_set():
                self._newly_assigned.clear()
                self._committed.clear()
                if self._starting_at is not None:
                    self._start(consumer, self._starting_at())
                    return []  # what was fetched began at the bus's own commit; the next poll begins where it should
            return records

    def commit(self, next_offsets: Mapping[Position, int]) -> None:
        """While partitions change hands nothing is committed: their next owner reads on from the last commit."""
        with _told_as_unavailable("committing"):
            consumer = self._joined()
            offsets = self._mine(consumer, next_offsets)
            if not offsets:
                return
            try:
                consumer.commit({p: OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}, ANSWER_MS)
                self._committed |= offsets
            except _CHANGING_HANDS as error:
                log.info("not committed, partitions change hands: %s", type(error).__name__)

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
                metadata_max_age_ms=30_000,  # how soon partitions that were added are read
                allow_auto_create_topics=False,
            )
            consumer.subscribe(self._topics, listener=self)
            self._consumer = consumer
        return self._consumer

    def _start(self, consumer: KafkaConsumer, next_offsets: Mapping[Position, int]) -> None:
        """Every assigned partition afresh: where it is told to, else at its beginning."""
        untold = consumer.assignment() - self._mine(consumer, next_offsets).keys()
        if untold:
            consumer.seek_to_beginning(*untold)
        self._seek(consumer, next_offsets)

    def _seek(self, consumer: KafkaConsumer, next_offsets: Mapping[Position, int]) -> None:
        wanted = self._mine(consumer, next_offsets)
        if not wanted:
            return
        firsts = consumer.beginning_offsets(list(wanted), timeout_ms=ANSWER_MS)
        ends = consumer.end_offsets(list(wanted), timeout_ms=ANSWER_MS)
        for partition, offset in wanted.items():
            if offset < firsts[partition]:
                lost, where = firsts[partition] - offset, f"{partition.topic}[{partition.partition}]"
                log.error("%s: %d records were deleted by retention before they were read here", where, lost)
            if firsts[partition] <= offset <= ends[partition]:
                consumer.seek(partition, offset)
            else:  # beyond its end: another log than the one these offsets were counted in
                consumer.seek(partition, firsts[partition])

    def _mine(self, consumer: KafkaConsumer, offsets: Mapping[Position, int]) -> dict[TopicPartition, int]:
        """Of the partitions that are assigned to this member."""
        named = {TopicPartition(self._prefix + topic, number): offset for (topic, number), offset in offsets.items()}
        assigned = consumer.assignment()
        return {partition: offset for partition, offset in named.items() if partition in assigned}

    def _ask_whether_all_is_there(self, consumer: KafkaConsumer) -> None:
        """The client's poll is silent about a broker that is away and a topic that is missing."""
        try:
            consumer.end_offsets([TopicPartition(topic, 0) for topic in self._topics], timeout_ms=ANSWER_MS // 2)
        except KafkaTimeoutError as error:
            raise Unavailable(f"the broker is away, or a topic is missing of {', '.join(self._topics)}") from error
        self._heard_at = time.monotonic()

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


def _records(polled: Mapping[TopicPartition, Iterable[Any]], prefix: str) -> list[Record]:
    return [
        Record(
            message.topic.removeprefix(prefix),
            message.partition,
            message.offset,
            (message.key or b"").decode("utf-8", "replace"),
            message.value or b"",
        )
        for message in chain.from_iterable(polled.values())
    ]


def _finish_rebalance(consumer: KafkaConsumer) -> None:
    """kafka-python 3.0.12 forgets a rebalance that ends between two polls, then waits for ever without heartbeats."""
    coordinator = consumer._coordinator
    if coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def _let_go(producer: KafkaProducer) -> None:
    """A stuck producer's close() raises and leaves its thread running and spinning; its sender must be told as well."""
    try:
        producer.close(timeout=2)
    except KafkaError:
        producer._sender.force_close()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _topic_prefix(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text) is None:
        raise ValueError(text)
    return text


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "api_version": _version,
    "prefix": _topic_prefix,
    "replication": int,
    "delivery_timeout_seconds": float,
    "session_timeout_seconds": float,
}


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536
