"""Events born in the database: written in the transaction that made them true, published afterwards.

Twice: a crash between publish and delete publishes again, with the same event id; consumers deduplicate.
Fails: while the bus or the database is away the rows wait, in the order of the service; a row that the bus can never
take goes to `ratchet.dead`.
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine
from sqlmodel import Session, col, delete, select

from shared.bus import Bus, Outgoing
from shared.db import OutboxRow, reading, transaction
from shared.dead_letters import publish_or_bury
from shared.errors import Unavailable
from shared.events import TOPIC_OF, Event, encode, key_of
from shared.web import crash

log = logging.getLogger(__name__)
BATCH = 500
RETRY_SECONDS = 2.0


class Outbox:
    """Adds events to a transaction; whoever owns the transaction commits it."""

    def __init__(self, session: Session, service: str) -> None:
        self._session = session
        self._service = service

    def add(self, event: Event) -> None:
        row = OutboxRow(
            service=self._service,
            topic=TOPIC_OF[type(event)],
            key=key_of(event),
            value=encode(event, self._service),
        )
        self._session.add(row)


def publish_pending(engine: Engine, bus: Bus, service: str) -> int:
    """Publishes the oldest waiting rows of one service and deletes them; how many. Raises Unavailable."""
    with reading(engine) as session:
        query = select(OutboxRow).where(OutboxRow.service == service).order_by(col(OutboxRow.id)).limit(BATCH)
        rows = session.exec(query).all()
    if not rows:
        return 0
    publish_or_bury(bus, service, [Outgoing(row.topic, row.key, row.value) for row in rows])
    with transaction(engine) as session:
        session.exec(delete(OutboxRow).where(col(OutboxRow.id).in_([row.id for row in rows])))
    return len(rows)


class OutboxPublisher(threading.Thread):
    """Publishes in the background until stopped; `notify` after a commit saves the wait of one interval.

    A bug in it calls on_crash, which by default ends the process: facts that nobody hears of are worse.
    """

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        service: str,
        interval_seconds: float = 0.2,
        on_crash: Callable[[BaseException], None] = crash,
    ) -> None:
        super().__init__(name=f"{service}-outbox", daemon=True)
        self._on_crash = on_crash
        self._engine, self._bus, self._service, self._interval = engine, bus, service, interval_seconds
        self._stopping = threading.Event()
        self._woken = threading.Event()

    def run(self) -> None:
        topics_are_there = False
        try:
            while not self._stopping.is_set():
                self._woken.wait(self._interval)
                self._woken.clear()
                try:
                    if not topics_are_there:
                        self._bus.ensure_topics()
                        topics_are_there = True
                    while publish_pending(self._engine, self._bus, self._service) and not self._stopping.is_set():
                        pass
                except Unavailable as error:
                    topics_are_there = False
                    log.warning("events wait in the outbox: %s", error)
                    self._stopping.wait(RETRY_SECONDS)
        except BaseException as error:
            log.exception("the outbox of %s stops", self._service)
            self._on_crash(error)

    def notify(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self.join(timeout=10)
