"""The way to the desk and back: nominated samples go there within the day's budget, verdicts come from there.

Twice: an item that is pushed again is no second item, a verdict that is pulled again no second correction.
Fails: while the desk or the database is away samples stay nominated and are pushed later; a verdict that cannot be
used is logged and left out; anything else ends the process.
"""

import logging
import threading
from collections.abc import Callable
from typing import get_args

from sqlalchemy import Engine

from services.annotation import metrics, repository
from services.annotation.counts import on_the_way
from services.annotation.desk import Desk, item_of
from services.annotation.grouping import Split
from services.annotation.handlers import Now, Workloads
from services.annotation.selection import choose, daily_quota, first_recent_day
from services.annotation.verdicts import record_verdict
from shared.db import reading, transaction
from shared.errors import Unavailable, Unusable
from shared.outbox import Outbox
from shared.workloads import Workload

log = logging.getLogger(__name__)
BATCH = 200


def fill(engine: Engine, desk: Desk, workloads: Workloads, now: Now) -> int:
    """Pushes what today's budget allows; how many items. Raises Unavailable."""
    pushed = 0
    for name, workload in workloads.items():
        for split in get_args(Split):
            while count := _push_batch(engine, desk, name, workload, split, now()[:10]):
                pushed += count
    return pushed


def collect(engine: Engine, desk: Desk, workloads: Workloads, now: Now, service: str) -> int:
    """Records the verdicts that wait at the desk; how many were new. Raises Unavailable."""
    created = 0
    for given in desk.pull():
        try:
            with transaction(engine) as session:
                outbox = Outbox(session, service)
                created += record_verdict(given, session, outbox, workloads=workloads, now=now).created
        except Unusable as error:
            log.warning("a verdict of the desk cannot be used: %s", error)
    return created


class DeskLoop(threading.Thread):
    """Fills and collects until stopped; `notify` after a commit saves the wait of one interval."""

    def __init__(
        self,
        *,
        engine: Engine,
        desk: Desk,
        workloads: Workloads,
        now: Now,
        service: str,
        interval_seconds: float,
        on_crash: Callable[[BaseException], None],
        after_commit: Callable[[], None],
    ) -> None:
        super().__init__(name=f"{service}-desk", daemon=True)
        self._engine, self._desk, self._workloads, self._now, self._service = engine, desk, workloads, now, service
        self._interval_seconds, self._on_crash, self._after_commit = interval_seconds, on_crash, after_commit
        self._stopping, self._woken = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
                self._woken.wait(self._interval_seconds)
                self._woken.clear()
        except BaseException as error:
            log.exception("the desk's loop stops")
            self._on_crash(error)

    def notify(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self.join(timeout=10)

    def _turn(self) -> None:
        try:
            if collect(self._engine, self._desk, self._workloads, self._now, self._service):
                self._after_commit()
            fill(self._engine, self._desk, self._workloads, self._now)
            metrics.DESK_REACHABLE.set(1)
            self._measure()
        except Unavailable as error:
            metrics.DESK_REACHABLE.set(0)
            log.warning("the desk waits: %s", error)
            self._stopping.wait(self._interval_seconds)

    def _measure(self) -> None:
        with reading(self._engine) as session:
            for name in self._workloads:
                nominated, waiting = on_the_way(session, name)
                metrics.NOMINATED.labels(name).set(nominated)
                metrics.WAITING.labels(name).set(waiting)


def _push_batch(engine: Engine, desk: Desk, name: str, workload: Workload, split: Split, today: str) -> int:
    """The desk first, the state afterwards: a crash between the two pushes the same items again."""
    with reading(engine) as session:
        room = daily_quota(workload, split) - repository.shown_today(session, name, split, today)
        if room <= 0:
            return 0
        recent = first_recent_day(workload, today)
        chosen = choose(repository.candidates(session, name, split, recent, 4 * BATCH), min(room, BATCH))
        ids = [candidate.answer_id for candidate in chosen]
        feedback = repository.feedback_on_all(session, ids)
        items = [item_of(row, feedback.get(row.answer_id, []), None) for row in repository.samples(session, ids)]
    if not ids:
        return 0
    desk.push(items)
    with transaction(engine) as session:
        repository.show(session, ids, today)
    metrics.SHOWN.labels(name).inc(len(ids))
    return len(ids)
