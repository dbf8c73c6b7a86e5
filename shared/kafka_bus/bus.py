"""Publishing, and reading a topic from its beginning."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from shared.bus import Outgoing, Position, Record, refuse_unusable
from shared.errors import Unavailable, Unusable
from shared.events import headers_of
from shared.kafka_bus.connection import ANSWER_MS, Cluster, told_as_unavailable
from shared.kafka_bus.member import KafkaGroupMember
from shared.kafka_bus.topics import BrokerTopics
from shared.topics import MAX_RECORD_BYTES, ROOM_BYTES

log = logging.getLogger(__name__)

UNACKED_BYTES = 8 * 2**20  # the client itself has no limit: 300,000 sends into a stalled broker took 968 MB
WATCHDOG_SECONDS = 5.0  # past the delivery timeout a future that is still open will never resolve
_FOR_EVER = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError)


class KafkaBus:
    """Safe to share between threads. Connects at the first use, not when it is made."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topics = BrokerTopics(cluster)
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None

    @classmethod
    def open(cls, url: str) -> "KafkaBus":
        return cls(Cluster.of_url(url))

    def publish(self, records: Sequence[Outgoing]) -> None:
        refuse_unusable(records)
        for piece in _pieces(records):
            self._publish(piece)

    def consumer(
        self, group: str, topics: Sequence[str], starting_at: Callable[[], Mapping[Position, int]] | None = None
    ) -> "KafkaGroupMember":
        return KafkaGroupMember(self._cluster, group, topics, starting_at)

    def history(self, topic: str) -> Iterator[Record]:
        with told_as_unavailable("reading"):
            consumer = KafkaConsumer(
                **self._cluster.client,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
            )
            try:
                numbers = consumer.partitions_for_topic(self._cluster.prefix + topic) or ()
                partitions = [TopicPartition(self._cluster.prefix + topic, number) for number in numbers]
                consumer.assign(partitions)
                consumer.seek_to_beginning(*partitions)
                ends = consumer.end_offsets(partitions, timeout_ms=ANSWER_MS)
                heard_at = time.monotonic()
                while any((consumer.position(p, timeout_ms=1000) or 0) < end for p, end in ends.items()):
                    records = self._cluster.records(consumer.poll(timeout_ms=1000, max_records=500))
                    if records:
                        yield from records
                        heard_at = time.monotonic()
                    elif time.monotonic() - heard_at > self._cluster.delivery_timeout_seconds:
                        raise Unavailable(f"Kafka, reading {topic}: nothing came before its end")
            finally:
                consumer.close()

    def ensure_topics(self) -> None:
        """Topics that exist stay as they are; how they differ from the table is said once."""
        self._topics.ensure()

    def objections(self) -> tuple[list[str], list[str]]:
        """Topics the broker has not, and how the others differ from the table: a look, nothing is made."""
        return self._topics.objections()

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            _let_go(producer)

    def _publish(self, records: Sequence[Outgoing]) -> None:
        producer = self._connected()
        deadline = time.monotonic() + self._cluster.delivery_timeout_seconds + WATCHDOG_SECONDS
        sent: list[Any] = []
        refused: KafkaError | None = None
        with told_as_unavailable("publishing"):
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
        topic = self._cluster.prefix + record.topic
        try:
            return producer.send(topic, key=record.key.encode(), value=record.value, headers=headers_of(record.value))
        except KafkaTimeoutError as error:
            raise KafkaTimeoutError(f"the broker is away, or it has no topic {topic}: {error}") from error

    def _connected(self) -> KafkaProducer:
        with self._lock, told_as_unavailable("connecting"):
            if self._producer is None:
                self._producer = KafkaProducer(
                    **self._cluster.client,
                    enable_idempotence=False,
                    acks="all",
                    max_in_flight_requests_per_connection=1,
                    linger_ms=10,
                    batch_size=131072,
                    max_request_size=MAX_RECORD_BYTES + ROOM_BYTES,
                    max_block_ms=int(self._cluster.delivery_timeout_seconds * 1000),
                    request_timeout_ms=int(self._cluster.delivery_timeout_seconds * 1000 / 3),
                    delivery_timeout_ms=int(self._cluster.delivery_timeout_seconds * 1000),
                    allow_auto_create_topics=False,
                )
            return self._producer

    def _abandon(self, producer: KafkaProducer) -> None:
        log.warning("the Kafka producer is stuck; it is abandoned, the next publish makes a new one")
        with self._lock:
            if self._producer is producer:
                self._producer = None
        threading.Thread(target=_let_go, args=(producer,), name="kafka-abandoned", daemon=True).start()


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


def _let_go(producer: KafkaProducer) -> None:
    """A stuck producer's close() raises and leaves its thread running and spinning; its sender must be told as well."""
    try:
        producer.close(timeout=2)
    except KafkaError:
        producer._sender.force_close()
