"""Every query of the scheduler that is not a job's change of state. The caller owns the transaction."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, exists, func, select

from services.scheduler.tables import (
    QUEUED,
    RUNNING,
    STATES,
    TRAIN,
    AlertRow,
    ExampleRow,
    JobRow,
    UsedExampleRow,
    WorkloadRow,
)
from services.scheduler.triggers import Standing

CHUNK = 500  # bound parameters of one statement; SQLite's oldest limit is 999


def standing(session: Session, workload: str, preset: str) -> Standing:
    """How a workload stands towards its own preset."""
    remembered = session.get(WorkloadRow, workload)
    active = select(JobRow).where(
        JobRow.workload == workload, JobRow.kind == TRAIN, col(JobRow.state).in_((QUEUED, RUNNING))
    )
    training = session.exec(active.order_by(col(JobRow.id))).first()
    last = last_training(session, workload)
    alert = pending_alert(session, workload)
    return Standing(
        new_examples=new_examples(session, workload, preset),
        training=training.id if training else None,
        last_training_at=(last.finished_at or last.created_at) if last else None,
        nightly_through=remembered.nightly_through if remembered else 0.0,
        alert=alert.why if alert else None,
    )


def new_examples(session: Session, workload: str, preset: str) -> int:
    used = exists().where(col(UsedExampleRow.example_id) == ExampleRow.example_id, col(UsedExampleRow.preset) == preset)
    query = select(func.count()).select_from(ExampleRow)
    return session.exec(query.where(ExampleRow.workload == workload, col(ExampleRow.retired).is_(False), ~used)).one()


def add_example(session: Session, example_id: str, workload: str) -> None:
    if session.get(ExampleRow, example_id) is None:
        session.add(ExampleRow(example_id=example_id, workload=workload))


def retire_example(session: Session, example_id: str, workload: str) -> None:
    """Also one that was never heard of: its own event may come later and must not make it count."""
    row = session.get(ExampleRow, example_id) or ExampleRow(example_id=example_id, workload=workload)
    row.retired = True
    session.add(row)


def active_examples(session: Session, workload: str) -> set[str]:
    query = select(ExampleRow.example_id).where(ExampleRow.workload == workload, col(ExampleRow.retired).is_(False))
    return set(session.exec(query).all())


def use_examples(session: Session, example_ids: Iterable[str], preset: str, job_id: str) -> None:
    """They are no longer new to this preset; those that an earlier training had stay that training's."""
    wanted = sorted(set(example_ids))
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        query = select(UsedExampleRow.example_id).where(
            UsedExampleRow.preset == preset, col(UsedExampleRow.example_id).in_(chunk)
        )
        there = set(session.exec(query).all())
        session.add_all(UsedExampleRow(example_id=i, preset=preset, job_id=job_id) for i in chunk if i not in there)
    session.flush()


def last_training(session: Session, workload: str) -> JobRow | None:
    query = select(JobRow).where(JobRow.workload == workload, JobRow.kind == TRAIN)
    return session.exec(query.order_by(col(JobRow.id).desc())).first()


def remembered(session: Session, workload: str) -> WorkloadRow:
    """The workload's row, made when it is missing."""
    row = session.get(WorkloadRow, workload)
    if row is None:
        row = WorkloadRow(workload=workload)
        session.add(row)
    return row


def follows_cron(session: Session, workload: str, cron: str | None) -> bool:
    row = session.get(WorkloadRow, workload)
    return row is not None and row.cron == cron and row.nightly_through > 0


def follow_cron(session: Session, workload: str, cron: str | None, now: float) -> None:
    """A nightly that is new in ratchet.toml has missed nothing yet."""
    row = remembered(session, workload)
    row.cron, row.nightly_through = cron, now


def pending_alert(session: Session, workload: str) -> AlertRow | None:
    query = select(AlertRow).where(AlertRow.workload == workload, col(AlertRow.pending).is_(True))
    return session.exec(query.order_by(col(AlertRow.accepted_at))).first()


def settle_occasions(session: Session, workload: str, now: float, *, refused: bool) -> None:
    """Waiting alerts and nightlies up to now are answered: by a training, or because none is needed or possible.

    refused: the alerts are forgotten, so that they are accepted when they come again.
    """
    query = select(AlertRow).where(AlertRow.workload == workload, col(AlertRow.pending).is_(True))
    for alert in session.exec(query).all():
        if refused:
            session.delete(alert)
        alert.pending = False
    remembered(session, workload).nightly_through = now


def jobs(
    session: Session, *, workload: str | None, state: str | None, kind: str | None, limit: int
) -> Sequence[JobRow]:
    """Newest first."""
    query = select(JobRow)
    if workload is not None:
        query = query.where(JobRow.workload == workload)
    if state is not None:
        query = query.where(JobRow.state == state)
    if kind is not None:
        query = query.where(JobRow.kind == kind)
    return session.exec(query.order_by(col(JobRow.id).desc()).limit(limit)).all()


def counts(session: Session) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = session.exec(select(JobRow.state, func.count()).group_by(JobRow.state)).all()
    return dict.fromkeys(STATES, 0) | dict(rows)
