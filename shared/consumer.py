"""The one consuming loop: events of the bus into transactions of the database.

What the handlers wrote, the outbox rows, the dead letters, the inbox rows and the offsets commit together, and only
then the bus's own commit: an event acts once, however often it is delivered. A batch that takes long is committed in
parts, so that other services are not kept waiting for the database.
Fails: Unusable -> dead letter and on; Unavailable -> what is not committed is rolled back and tried again after a
pause; anything else -> the process crashes loudly. When more than `dead_letter_brake` events in a row are unusable the
consumer stops with an error: that is a wrong deployment, not bad data.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, delete, select

from shared.bus import Bus, Position, Record
from shared.bus import Consumer as BusConsumer
from shared.db import InboxRow, OffsetRow, OutboxRow, cannot_hold, insert_once, put, reading, transaction
from shared.dead_letters import dead_letter
from shared.errors import Unavailable, Unusable
from shared.events import Event, decode
from shared.ids import first_uuid7_at
from shared.metrics import CONSUMER_DEAD_LETTERS, CONSUMER_EVENTS, CONSUMER_LAG
from shared.outbox import Outbox

log = logging.getLogger(__name__)

Handler = Callable[[Any, Session, Outbox], None]  # the event, the batch's transaction, the outbox in it

POLL_SECONDS = 0.5  # how long a stop may have to wait
HOLD_SECONDS = 0.25  # how long one transaction goes on taking more events
LAG_SECONDS = 1.0
INBOX_DAYS = 30  # an event written twice comes twice within hours; the offsets keep older ones away
PRUNE_SECONDS = 3600.0


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
        CONSUMER_DEAD_LETTERS.labels(service)  # there from the start as 0: a first one that appears as 1 is no increase
        self._unusable_in_a_row = 0
        self._lag_at = 0.0
        self._pruned_at = time.monotonic()
        self.waiting: str | None = "the bus was not reached yet"  # why nothing is consumed now; for readiness
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._consume()
                except Unavailable as error:
                    self.waiting = str(error)
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
        self._bus.ensure_topics()
        consumer = self._bus.consumer(self._service, self._topics, starting_at=self._offsets)
        try:
            while not self._stopping.is_set():
                records = consumer.poll(self._max_records, POLL_SECONDS if self.waiting is None else 0.0)
                self._handle_all(consumer, records)
                self.waiting = None
                self._measure(consumer)
                self._prune_inbox()
        finally:
            consumer.close()

    def _offsets(self) -> dict[Position, int]:
        """The database's word on how far this consumer came; it overrules the bus's own commit."""
        with reading(self._engine) as session:
            rows = session.exec(select(OffsetRow).where(OffsetRow.consumer == self._service)).all()
        return {(row.topic, row.partition): row.next_offset for row in rows if row.topic in self._topics}

    def _handle_all(self, consumer: BusConsumer, records: Sequence[Record]) -> None:
        while records and not self._stopping.is_set():
            handled = records[: self._handle_some(records)]
            records = records[len(handled) :]
            self._after_commit()
            consumer.commit({(r.topic, r.partition): r.offset + 1 for r in handled})

    def _handle_some(self, records: Sequence[Record]) -> int:
        """One transaction over the first of the records; how many it took."""
        until = time.monotonic() + HOLD_SECONDS
        unusable_in_a_row = self._unusable_in_a_row
        counted: Counter[str | None] = Counter()
        next_offsets: dict[Position, int] = {}
        taken = 0
        with transaction(self._engine) as session:
            for record in records:
                outcome, happened = self._handle(session, record), None
                if isinstance(outcome, Unusable):
                    unusable_in_a_row += 1
                    self._bury(session, record, outcome, unusable_in_a_row)
                else:
                    unusable_in_a_row, happened = 0, outcome
                counted[happened] += 1
                next_offsets[record.topic, record.partition] = record.offset + 1
                taken += 1
                if time.monotonic() > until:
                    break
            for (topic, partition), offset in next_offsets.items():
                put(session, OffsetRow(consumer=self._service, topic=topic, partition=partition, next_offset=offset))
        # Only now is any of it true.
        self._unusable_in_a_row = unusable_in_a_row
        self._count(counted)
        return taken

    def _handle(self, session: Session, record: Record) -> str | Unusable:
        """The event's name, "" for one that was handled before or concerns nobody here, or why it is unusable."""
        try:
            envelope, event = decode(record.value)
            handlers = self._handlers.get(type(event), ())
            if not handlers:
                return ""
            with session.begin_nested():
                if not insert_once(session, InboxRow(consumer=self._service, event_id=envelope.id)):
                    return ""
                for handler in handlers:
                    handler(event, session, Outbox(session, self._service))
                session.flush()
        except Unusable as error:
            return error
        except (DBAPIError, OverflowError) as error:
            if not cannot_hold(error):
                raise
            return Unusable(f"the database cannot hold it: {error}")
        return type(event).__name__

    def _bury(self, session: Session, record: Record, error: Unusable, in_a_row: int) -> None:
        if in_a_row > self._brake:
            raise RuntimeError(
                f"{in_a_row} events in a row are unusable for {self._service}, up to {record.topic}[{record.partition}]"
                f"@{record.offset}; none of this batch was taken. The last: {error}"
            ) from error
        letter = dead_letter(
            self._service, record.topic, record.key, record.value, str(error), record.partition, record.offset
        )
        session.add(OutboxRow(service=self._service, topic=letter.topic, key=letter.key, value=letter.value))
        log.warning("dead letter from %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)

    def _count(self, counted: Mapping[str | None, int]) -> None:
        for name, events in counted.items():
            if name is None:
                CONSUMER_DEAD_LETTERS.labels(self._service).inc(events)
            elif name:
                CONSUMER_EVENTS.labels(self._service, name).inc(events)

    def _measure(self, consumer: BusConsumer) -> None:
        if time.monotonic() - self._lag_at > LAG_SECONDS:
            self._lag_at = time.monotonic()
            CONSUMER_LAG.labels(self._service).set(consumer.lag())

    def _prune_inbox(self) -> None:
        """Event ids begin with their time, so the old ones are the first of their index."""
        if time.monotonic() - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            oldest = first_uuid7_at(time.time() - INBOX_DAYS * 86400)
            with transaction(self._engine) as session:
                mine = col(InboxRow.consumer) == self._service
                session.exec(delete(InboxRow).where(mine, col(InboxRow.event_id) < oldest))
