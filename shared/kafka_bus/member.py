"""A member of a Kafka consumer group that tells what the client is silent about: no broker, no topic, lost records."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from shared.bus import Position, Record
from shared.errors import Unavailable
from shared.kafka_bus.connection import ANSWER_MS, Cluster, told_as_unavailable
from shared.topics import MAX_RECORD_BYTES, ROOM_BYTES

log = logging.getLogger(__name__)

PROOF_SECONDS = 5.0  # a consumer that hears nothing asks so often whether broker and topics are there
_CHANGING_HANDS = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class KafkaGroupMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of a consumer group. Connects and joins at its first poll."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Sequence[str],
        starting_at: Callable[[], Mapping[Position, int]] | None,
    ) -> None:
        self._cluster, self._group, self._starting_at = cluster, group, starting_at
        self._topics = [cluster.prefix + topic for topic in topics]
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
        with told_as_unavailable("reading"):
            consumer = self._joined()
            _finish_rebalance(consumer)
            polled = consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
            records = self._cluster.records(polled)
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
        with told_as_unavailable("committing"):
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
        with told_as_unavailable("seeking"):
            self._seek(self._joined(), next_offsets)

    def lag(self) -> int:
        with told_as_unavailable("asking for the lag"):
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
            session_ms = int(self._cluster.session_timeout_seconds * 1000)
            consumer = KafkaConsumer(
                **self._cluster.client,
                group_id=self._cluster.prefix + self._group,
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=session_ms // 3,
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
        named = {
            TopicPartition(self._cluster.prefix + topic, number): offset for (topic, number), offset in offsets.items()
        }
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


def _finish_rebalance(consumer: KafkaConsumer) -> None:
    """kafka-python 3.0.12 forgets a rebalance that ends between two polls, then waits for ever without heartbeats."""
    coordinator = consumer._coordinator
    if coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()
