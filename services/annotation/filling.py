"""The way to the desk and back: nominated samples go there within the day's budget, verdicts come from there.

Twice: an item that is pushed again is no second item, a verdict that is pulled again no second correction.
Fails: while the desk or the database is away samples stay nominated and are pushed later; a verdict that cannot be
used is logged and left out; anything else ends the process.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from sqlalchemy import Engine
from sqlmodel import Session

from services.annotation import metrics, repository
from services.annotation.counts import on_the_way
from services.annotation.desk import Desk, item_of
from services.annotation.desk_figures import measure
from services.annotation.gold import Gold, among
from services.annotation.grouping import Split, share_of
from services.annotation.handlers import Now, Workloads
from services.annotation.opinions import asked, disputes, record_opinion, unseen
from services.annotation.selection import Candidate, choose, daily_quota, first_recent_day
from services.annotation.tables import CorrectionRow
from services.annotation.verdicts import record_verdict
from shared.db import reading, transaction
from shared.errors import Unavailable, Unusable
from shared.outbox import Outbox
from shared.workloads import Workload

log = logging.getLogger(__name__)
BATCH = 200


def fill(
    engine: Engine, desk: Desk, workloads: Workloads, now: Now, gold: Mapping[str, Sequence[Gold]] | None = None
) -> int:
    """Pushes what today's budget allows; how many items, without the gold ones. Raises Unavailable."""
    pushed = 0
    for name, workload in workloads.items():
        while count := _push_batch(engine, desk, name, workload, now()[:10], (gold or {}).get(name, ())):
            pushed += count
    return pushed


def collect(engine: Engine, desk: Desk, workloads: Workloads, now: Now, service: str) -> int:
    """Records the verdicts that wait at the desk; how many were new. Raises Unavailable."""
    created = 0
    given = desk.pull()
    with reading(engine) as session:
        new = unseen(session, given)
    for verdict in new:
        try:
            with transaction(engine) as session:
                outbox = Outbox(session, service)
                if verdict.source is None:
                    created += record_verdict(verdict, session, outbox, workloads=workloads, now=now).created
                else:
                    created += record_opinion(verdict, verdict.source, session, outbox, workloads=workloads, now=now)
        except Unusable as error:
            log.warning("a verdict of the desk cannot be used: %s", error)
    return created


def ask_reviewers(engine: Engine, desk: Desk) -> int:
    """Items about which annotators disagree go to a reviewer; how many. Raises Unavailable."""
    with reading(engine) as session:
        open_ones = disputes(session, BATCH)
        ids = [sample.answer_id for sample, _ in open_ones]
        feedback = repository.feedback_on_all(session, ids)
        items = [(item_of(s, feedback.get(s.answer_id, []), None), _words_of(said)) for s, said in open_ones]
    if items:
        for sample_id, why in desk.push_for_review(items).items():
            log.error("sample %s cannot be shown to a reviewer: %s", sample_id, why)
        with transaction(engine) as session:
            asked(session, ids)
    return len(items)


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
        gold: Mapping[str, Sequence[Gold]] | None = None,
    ) -> None:
        super().__init__(name=f"{service}-desk", daemon=True)
        self._engine, self._desk, self._workloads, self._now, self._service = engine, desk, workloads, now, service
        self._interval_seconds, self._on_crash, self._after_commit = interval_seconds, on_crash, after_commit
        self._stopping, self._woken, self._told = threading.Event(), threading.Event(), threading.Event()
        self._collect_at = 0.0
        self._gold = gold

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
        """There may be something to push."""
        self._woken.set()

    def look(self) -> None:
        """There may be a verdict to pull."""
        self._told.set()
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self.join(timeout=10)

    def _turn(self) -> None:
        try:
            self._collect()
            ask_reviewers(self._engine, self._desk)
            fill(self._engine, self._desk, self._workloads, self._now, self._gold)
            metrics.DESK_REACHABLE.set(1)
            self._measure()
        except (Unavailable, Unusable) as error:  # a desk that refuses us now may be set right
            metrics.DESK_REACHABLE.set(0)
            log.warning("the desk waits: %s", error)
            self._stopping.wait(self._interval_seconds)

    def _collect(self) -> None:
        """When due or told to. A pull reads all that was answered, so it may take a tenth of the time and no more."""
        began = time.monotonic()
        if began < self._collect_at and not self._told.is_set():
            return
        self._told.clear()
        if collect(self._engine, self._desk, self._workloads, self._now, self._service):
            self._after_commit()
            with reading(self._engine) as session:
                measure(session, self._workloads)
        ended = time.monotonic()
        self._collect_at = ended + max(self._interval_seconds, 9 * (ended - began)) - 0.01

    def _measure(self) -> None:
        with reading(self._engine) as session:
            for name in self._workloads:
                nominated, waiting = on_the_way(session, name)
                metrics.NOMINATED.labels(name).set(nominated)
                metrics.WAITING.labels(name).set(waiting)


def _push_batch(engine: Engine, desk: Desk, name: str, workload: Workload, today: str, gold: Sequence[Gold]) -> int:
    """The desk first, the state afterwards: a crash between the two pushes the same items again.

    Both splits in one batch, shuffled, so that an item's place tells nobody which side it is on.
    """
    with reading(engine) as session:
        chosen = [c for split in get_args(Split) for c in _chosen(session, name, workload, split, today)]
        ids = sorted((candidate.answer_id for candidate in chosen), key=lambda i: share_of(f"shown\0{i}"))
        feedback = repository.feedback_on_all(session, ids)
        rows = {row.answer_id: row for row in repository.samples(session, ids)}
        items = [item_of(rows[i], feedback.get(i, []), None) for i in ids]
    if not ids:
        return 0
    if gold:
        with transaction(engine) as session:
            items = among(session, items, gold, workload.desk.gold_share)
    refused = desk.push(items)
    for sample_id, why in refused.items():
        log.error("sample %s cannot be shown to the experts: %s", sample_id, why)
    with transaction(engine) as session:
        repository.put_back(session, list(refused))
        repository.show(session, [i for i in ids if i not in refused], today)
    lost = len(refused.keys() & set(ids))
    metrics.SHOWN.labels(name).inc(len(ids) - lost)
    metrics.UNSHOWABLE.labels(name).inc(lost)
    return len(ids)


def _chosen(session: Session, name: str, workload: Workload, split: Split, today: str) -> list[Candidate]:
    room = daily_quota(workload, split) - repository.shown_today(session, name, split, today)
    if room <= 0:
        return []
    recent = first_recent_day(workload, today)
    return choose(repository.candidates(session, name, split, recent, 4 * BATCH), min(room, BATCH))


def _words_of(said: Sequence[CorrectionRow]) -> str:
    """What each annotator said, for a reviewer; no names, which would weigh more than reasons."""
    parts = []
    for number, row in enumerate(said, 1):
        words = [f"Annotator {number}: {row.verdict}", *json.loads(row.reasons)]
        parts.append("\n".join(filter(None, [", ".join(words), row.ideal, row.comment and f"({row.comment})"])))
    return "\n\n".join(parts)
