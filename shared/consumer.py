"""The one consuming loop: events of the bus into transactions of the database.

Each batch is one transaction: what the handlers wrote, the outbox rows, the dead letters, the inbox rows and the
offsets commit together, and only then the bus's own commit. So an event acts once, however often it is delivered.
Fails: Unusable -> dead letter and on; Unavailable -> the batch is rolled back and tried again after a pause;
anything else -> the process crashes loudly. When more than `dead_letter_brake` events in a row are unusable the
consumer stops with an error: that is a wrong deployment, not bad data.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, select

from shared.bus import Bus, Position, Record
from shared.bus import Consumer as BusConsumer
from shared.db import InboxRow, OffsetRow, OutboxRow, transaction
from shared.dead_letters import dead_letter
from shared.errors import Unavailable, Unusable
from shared.events import Event, decode
from shared.metrics import CONSUMER_DEAD_LETTERS, CONSUMER_EVENTS, CONSUMER_LAG
from shared.outbox import Outbox

log = logging.getLogger(__name__)

Handler = Callable[[Any, Session, Outbox], None]  # the event, the batch's transaction, the outbox in it


class ConsumerLoop(threading.Thread):
    """Runs until `stop`; `failed` holds the exception that ended it otherwise, and `on_crash` is called with it."""

    def __init__(
        self,
        *,
        service: str,
        engine: Engine,
        bus: Bus,
        handlers: Mapping[type[Event], Sequence[Handler]],
        listens_to: Iterable[str],
        on_crash: Callable[[BaseException], None],
        after_commit: Callable[[], None] = lambda: None,
        dead_letter_brake: int = 100,
        max_records: int = 200,
        retry_seconds: float = 1.0,
    ) -> None:
        super().__init__(name=f"{service}-consumer", daemon=True)
        self._service, self._engine, self._bus, self._handlers = service, engine, bus, handlers
        self._topics = tuple(listens_to)
        self._on_crash, self._after_commit = on_crash, after_commit
        self._brake, self._max_records, self._retry_seconds = dead_letter_brake, max_records, retry_seconds
        self._stopping = threading.Event()
        self._unusable_in_a_row = 0
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._consume()
                except Unavailable as error:
                    log.warning("consuming waits: %s", error)
                    self._stopping.wait(self._retry_seconds)
        except BaseException as error:
            self.failed = error
            log.exception("the consumer of %s stops", self._service)
            self._on_crash(error)

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=15)

    def _consume(self) -> None:
        """Polls and handles until stopped. A new bus consumer after each failure, from the committed offsets."""
        consumer = self._bus.consumer(self._service, self._topics, starting_at=self._offsets)
        try:
            while not self._stopping.is_set():
                records = consumer.poll(self._max_records, 0.5)
                if records:
                    self._handle_batch(consumer, records)
                    CONSUMER_LAG.labels(self._service).set(consumer.lag())
        finally:
            consumer.close()

    def _offsets(self) -> dict[Position, int]:
        with transaction(self._engine) as session:
            rows = session.exec(select(OffsetRow).where(OffsetRow.consumer == self._service)).all()
        return {(row.topic, row.partition): row.next_offset for row in rows}

    def _handle_batch(self, consumer: BusConsumer, records: list[Record]) -> None:
        next_offsets: dict[Position, int] = {(r.topic, r.partition): r.offset + 1 for r in records}
        with transaction(self._engine) as session:
            for record in records:
                self._handle(session, record)
            for (topic, partition), offset in next_offsets.items():
                session.merge(OffsetRow(consumer=self._service, topic=topic, partition=partition, next_offset=offset))
        consumer.commit(next_offsets)
        self._after_commit()

    def _handle(self, session: Session, record: Record) -> None:
        try:
            with session.begin_nested():
                envelope, event = decode(record.value)
                if session.get(InboxRow, (self._service, envelope.id)) is not None:
                    return
                session.add(InboxRow(consumer=self._service, event_id=envelope.id))
                for handler in self._handlers.get(type(event), ()):
                    handler(event, session, Outbox(session, self._service))
                session.flush()
        except Unusable as error:
            self._bury(session, record, error)
            return
        self._unusable_in_a_row = 0
        CONSUMER_EVENTS.labels(self._service, type(event).__name__).inc()

    def _bury(self, session: Session, record: Record, error: Unusable) -> None:
        self._unusable_in_a_row += 1
        if self._unusable_in_a_row > self._brake:
            raise RuntimeError(f"{self._unusable_in_a_row} unusable events in a row, the last: {error}") from error
        letter = dead_letter(
            self._service, record.topic, record.key, record.value, str(error), record.partition, record.offset
        )
        session.add(OutboxRow(service=self._service, topic=letter.topic, key=letter.key, value=letter.value))
        CONSUMER_DEAD_LETTERS.labels(self._service).inc()
        log.warning("dead letter from %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)
