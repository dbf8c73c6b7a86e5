"""The job table: every change of a job's state. The caller owns the transaction.

A claim gives a worker the job's fencing token and a lease; each later write names the token, and one that is no
longer the job's raises LeaseLost and changes nothing. A job whose lease ran out is anybody's to claim again.
Twice: the same order is the same job, unless that job failed: then asking again makes a new one.
Emits: JobStarted, JobFailed here; what a job made (CandidateTrained, VersionsEvaluated) is given to `complete`.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, and_, col, delete, func, or_, select

from services.scheduler.metrics import JOBS, RETRIES
from services.scheduler.orders import Order, dedup_key, from_row, kind_of, to_row, version_names
from services.scheduler.tables import DONE, EVALUATE, FAILED, QUEUED, RUNNING, TRAIN, JobRow, UsedExampleRow
from shared.errors import RatchetError
from shared.events import Event, JobFailed, JobStarted
from shared.ids import uuid7
from shared.outbox import Outbox


class LeaseLost(RatchetError):
    """The job is another worker's now; whoever sees this ends its child and writes nothing more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to one attempt of one job."""

    job_id: str
    token: int
    attempt: int
    order: Order
    started_at: float  # Unix seconds
    left_behind: str | None  # a child of an earlier worker that may still run


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a job, and why."""

    trigger: str
    who: str
    why: str


def enqueue(session: Session, order: Order, asked: Asked, now: float) -> tuple[JobRow, bool]:
    """The job of this order, and whether it is new."""
    key = dedup_key(order)
    if (live := live_job(session, key)) is not None:
        return live, False
    row = JobRow(
        id=uuid7(),
        kind=kind_of(order),
        workload=order.workload,
        dedup_key=key,
        live_key=key,
        priority=0 if kind_of(order) == EVALUATE else 1,
        order=to_row(order),
        trigger=asked.trigger,
        who=asked.who,
        why=asked.why,
        created_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was quicker; its row is the job
        if (live := live_job(session, key)) is None:
            raise
        return live, False
    JOBS.labels(row.kind, QUEUED).inc()
    return row, True


def live_job(session: Session, key: str) -> JobRow | None:
    """The job of a dedup key that is queued, running or done."""
    return session.exec(select(JobRow).where(JobRow.live_key == key)).first()


def failed_job(session: Session, key: str) -> JobRow | None:
    query = select(JobRow).where(JobRow.dedup_key == key, JobRow.state == FAILED).order_by(col(JobRow.id).desc())
    return session.exec(query).first()


def forget(session: Session, job: JobRow) -> None:
    """Frees the key of a job whose artifact is gone, so that asking again makes it again."""
    job.live_key = None
    session.add(job)
    session.flush()


def claim(
    session: Session,
    outbox: Outbox,
    *,
    worker: str,
    now: float,
    lease_seconds: float,
    max_running: int,
    max_attempts: int,
) -> Claim | None:
    """The next job for this worker, evaluations first; None when nothing waits or the device is full."""
    while (row := _next(session, now)) is not None:
        if row.state == RUNNING and row.attempts >= max_attempts:
            _give_up(session, outbox, row, now)
            continue
        if _running(session, now) >= max_running:
            return None
        values = {
            "state": RUNNING,
            "token": row.token + 1,
            "worker": worker,
            "attempts": row.attempts + 1,
            "started_at": now,
            "heartbeat_at": now,
            "lease_until": now + lease_seconds,
            "child": None,
        }
        if not _changed(session, _mine(row.id, row.token, row.state), values):
            continue  # another worker was quicker
        outbox.add(JobStarted(job_id=row.id, kind=row.kind, workload=row.workload, attempt=row.attempts + 1))
        JOBS.labels(row.kind, RUNNING).inc()
        return Claim(row.id, row.token + 1, row.attempts + 1, from_row(row.order), now, row.child)
    return None


def anything_to_claim(session: Session, now: float) -> bool:
    """A look without a lock; `claim` decides."""
    return _next(session, now) is not None


def renew(session: Session, held: Claim, *, now: float, lease_seconds: float, **facts: Any) -> None:
    """Keeps the job for another lease. facts: `progress` and `child`, when they are known."""
    _write(session, held, lease_until=now + lease_seconds, heartbeat_at=now, **facts)


def complete(
    session: Session, outbox: Outbox, held: Claim, *, result: dict[str, Any], event: Event, now: float, **facts: Any
) -> None:
    """facts: the last `progress`, when it is known."""
    _write(session, held, state=DONE, finished_at=now, error=None, result=result, child=None, **facts)
    outbox.add(event)
    JOBS.labels(kind_of(held.order), DONE).inc()


def retry(session: Session, held: Claim, *, error: str, cause: str, not_before: float) -> None:
    """Back into the queue, the attempt counted."""
    _write(session, held, state=QUEUED, error=error, not_before=not_before, child=None)
    RETRIES.labels(kind_of(held.order), cause).inc()
    JOBS.labels(kind_of(held.order), QUEUED).inc()


def release(session: Session, held: Claim) -> None:
    """Back into the queue as if this attempt had not been: the worker was asked to stop."""
    _write(session, held, state=QUEUED, attempts=held.attempt - 1, not_before=0.0, child=None)
    JOBS.labels(kind_of(held.order), QUEUED).inc()


def fail(session: Session, outbox: Outbox, held: Claim, *, error: str, now: float) -> None:
    """For ever; its key and its examples are free again."""
    _write(session, held, state=FAILED, live_key=None, finished_at=now, error=error, child=None)
    _report(session, outbox, held.job_id, held.order, error, held.attempt)


def _next(session: Session, now: float) -> JobRow | None:
    ready = and_(JobRow.state == QUEUED, JobRow.not_before <= now)
    abandoned = and_(JobRow.state == RUNNING, JobRow.lease_until <= now)
    query = select(JobRow).where(or_(ready, abandoned)).order_by(col(JobRow.priority), col(JobRow.id)).limit(1)
    return session.exec(query.execution_options(populate_existing=True)).first()


def _running(session: Session, now: float) -> int:
    query = select(func.count()).select_from(JobRow).where(JobRow.state == RUNNING, JobRow.lease_until > now)
    return session.exec(query).one()


def _give_up(session: Session, outbox: Outbox, row: JobRow, now: float) -> None:
    error = f"its worker died in each of {row.attempts} attempts; the last error before: {row.error or 'none'}"
    values = {"state": FAILED, "live_key": None, "finished_at": now, "error": error, "token": row.token + 1}
    if _changed(session, _mine(row.id, row.token, RUNNING), values):
        _report(session, outbox, row.id, from_row(row.order), error, row.attempts)


def _report(session: Session, outbox: Outbox, job_id: str, order: Order, error: str, attempts: int) -> None:
    kind = kind_of(order)
    if kind == TRAIN:
        session.exec(delete(UsedExampleRow).where(col(UsedExampleRow.job_id) == job_id))
    outbox.add(
        JobFailed(
            job_id=job_id,
            kind=kind,
            workload=order.workload,
            reason=error,
            attempts=attempts,
            versions=list(version_names(order)),
        )
    )
    JOBS.labels(kind, FAILED).inc()


def _write(session: Session, held: Claim, **values: Any) -> None:
    if not _changed(session, _mine(held.job_id, held.token, RUNNING), values):
        raise LeaseLost(f"job {held.job_id} is no longer held with token {held.token}; another worker has taken it")


def _mine(job_id: str, token: int, state: str) -> Any:
    return and_(col(JobRow.id) == job_id, col(JobRow.token) == token, col(JobRow.state) == state)


def _changed(session: Session, where: Any, values: dict[str, Any]) -> bool:
    # synchronize_session=False: rows read before are stale now, and nothing here reads them again.
    outcome = session.execute(update(JobRow).where(where).values(values).execution_options(synchronize_session=False))
    assert isinstance(outcome, CursorResult)
    return bool(outcome.rowcount == 1)
