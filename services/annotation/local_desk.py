"""The embedded desk: annotation's own tables and the page at /desk.

Twice: the same verdict again is the same correction. Two people who look at the same moment get different items while
there are enough; the holds live in this process and are only a courtesy: when both correct one item, the later stands.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import Engine
from sqlmodel import Session

from services.annotation import repository, verdicts
from services.annotation.counts import figures
from services.annotation.desk import Item, Verdict, item_of
from services.annotation.handlers import Now, Workloads
from services.annotation.tables import SampleRow
from shared.db import reading, transaction
from shared.errors import Unusable
from shared.outbox import Outbox

LOOK_AHEAD = 100  # items looked through for one that nobody else holds


class Progress(BaseModel):
    waiting: int
    done_today: int
    done: int
    budget: int  # items a day
    examples: int  # of both splits: which of the two grew would tell whether the last item was for the holdout


@dataclass(frozen=True, slots=True)
class Submitted:
    correction_id: str
    created: bool
    progress: Progress


class LocalDesk:
    def __init__(
        self,
        engine: Engine,
        workloads: Workloads,
        *,
        service: str,
        now: Now,
        hold_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._workloads, self._service, self._now = engine, workloads, service, now
        self._holds = _Holds(hold_seconds, monotonic)

    def push(self, items: Sequence[Item]) -> Mapping[str, str]:
        """Nothing is to be sent: a sample in the state `waiting` is on this desk."""
        return {}

    def push_for_review(self, items: Sequence[tuple[Item, str]]) -> Mapping[str, str]:
        """Here the last verdict stands, so there is nothing to decide."""
        return {}

    def pull(self) -> Sequence[Verdict]:
        """Nothing is to be fetched: `submit` records each verdict while the expert waits for the answer."""
        return ()

    def next(self, workload: str, annotator: str, after: str | None) -> tuple[Item | None, Progress]:
        """The first waiting item after one, in the queue's order; None when none comes after it."""
        with reading(self._engine) as session:
            start = repository.sample(session, after) if after else None
            rows = repository.on_desk(session, workload, "waiting", LOOK_AHEAD, start)
            row = next((r for r in rows if self._holds.are_free(r.answer_id, annotator)), rows[0] if rows else None)
            if row is not None and annotator:
                self._holds.take(row.answer_id, annotator)
            return (_items(session, [row])[0] if row else None), self._progress(session, workload)

    def items(self, workload: str, state: str, limit: int) -> list[Item]:
        with reading(self._engine) as session:
            return _items(session, repository.on_desk(session, workload, state, limit, None))

    def item(self, sample_id: str) -> Item:
        with reading(self._engine) as session:
            return _items(session, [verdicts.on_the_desk(session, sample_id)])[0]

    def submit(self, given: Verdict) -> Submitted:
        """Raises Unusable with what the expert can mend at once; then nothing is kept."""
        with transaction(self._engine) as session:
            if slip := verdicts.slip_in(given, session, workloads=self._workloads):
                raise Unusable(slip.sentence)
            outbox = Outbox(session, self._service)
            recorded = verdicts.record_verdict(given, session, outbox, workloads=self._workloads, now=self._now)
            session.flush()
            sample = verdicts.on_the_desk(session, given.sample_id)
            progress = self._progress(session, sample.workload)
        return Submitted(recorded.correction_id, recorded.created, progress)

    def waiting(self) -> dict[str, int]:
        """Items on the desk by declared workload."""
        with reading(self._engine) as session:
            return {name: figures(session, name, self._now()[:10]).waiting for name in self._workloads}

    def _progress(self, session: Session, workload: str) -> Progress:
        now = figures(session, workload, self._now()[:10])
        return Progress(
            waiting=now.waiting,
            done_today=now.corrected_today,
            done=now.corrected,
            budget=self._workloads[workload].selection.daily_budget,
            examples=now.train + now.holdout,
        )


class _Holds:
    """Who looks at what, for a while."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds, self._monotonic = seconds, monotonic
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, float]] = {}

    def are_free(self, sample_id: str, annotator: str) -> bool:
        with self._lock:
            holder, until = self._held.get(sample_id, ("", 0.0))
        return holder in ("", annotator) or until <= self._monotonic()

    def take(self, sample_id: str, annotator: str) -> None:
        now = self._monotonic()
        with self._lock:
            if len(self._held) > 10_000:
                self._held = {k: v for k, v in self._held.items() if v[1] > now}
            self._held[sample_id] = (annotator, now + self._seconds)


def _items(session: Session, rows: Sequence[SampleRow]) -> list[Item]:
    ids = [row.answer_id for row in rows]
    feedback = repository.feedback_on_all(session, ids)
    standing = repository.standing_corrections(session, ids)
    return [item_of(row, feedback.get(row.answer_id, []), standing.get(row.answer_id)) for row in rows]
