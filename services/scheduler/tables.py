"""Rows of the scheduler. Only this service reads them.

Times are Unix seconds (float), of the machine that wrote them. Jobs are never deleted.
"""

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
STATES = (QUEUED, RUNNING, DONE, FAILED)
TRAIN, EVALUATE = "train", "evaluate"


class JobRow(SQLModel, table=True):
    """One training or evaluation. Whoever holds `token` owns it while it runs."""

    __tablename__ = "scheduler_jobs"
    id: str = Field(primary_key=True)  # UUIDv7, so ids sort by age
    kind: str = Field(index=True)
    workload: str = Field(index=True)
    dedup_key: str = Field(index=True)  # what is asked for, hashed
    live_key: str | None = Field(default=None, unique=True)  # dedup_key, given free when the job fails
    state: str = Field(default=QUEUED, index=True)
    priority: int = 1  # lower first: evaluations before trainings
    order: dict[str, Any] = Field(default_factory=dict, sa_column=Column("job_order", JSON, nullable=False))
    trigger: str = "hand"
    who: str = ""
    why: str = ""
    attempts: int = 0
    not_before: float = 0.0
    token: int = 0  # grows with each claim; a write that names an older one changes nothing
    worker: str | None = None
    lease_until: float = 0.0
    heartbeat_at: float | None = None
    child: str | None = None  # what the launcher needs to end a child that outlived its worker
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    error: str | None = None
    progress: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))


class ExampleRow(SQLModel, table=True):
    """A training example that was curated; here it is only counted."""

    __tablename__ = "scheduler_examples"
    example_id: str = Field(primary_key=True)
    workload: str = Field(index=True)
    retired: bool = False  # a later correction took its place, or found that it should not teach


class UsedExampleRow(SQLModel, table=True):
    """An example is new to a preset until a training with this preset has it; given free when that training fails."""

    __tablename__ = "scheduler_used_examples"
    example_id: str = Field(primary_key=True)
    preset: str = Field(primary_key=True)
    job_id: str = Field(index=True)


class WorkloadRow(SQLModel, table=True):
    """What the scheduler remembers of a workload between ticks."""

    __tablename__ = "scheduler_workloads"
    workload: str = Field(primary_key=True)
    cron: str | None = None  # the nightly that `nightly_through` is about
    nightly_through: float = 0.0  # every nightly up to this moment has been answered
    last_verdict: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))


class AlertRow(SQLModel, table=True):
    """An alert that was accepted; the same fingerprint and start are not accepted twice."""

    __tablename__ = "scheduler_alerts"
    fingerprint: str = Field(primary_key=True)
    starts_at: str = Field(primary_key=True)
    workload: str = Field(index=True)
    why: str
    accepted_at: float
    pending: bool = True  # until a training was asked for
