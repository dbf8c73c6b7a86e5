"""Rows of promotion; no other service reads them.

At most one champion a workload is a rule of the database itself: a partial unique index, so two promoters that race
cannot both win, whatever the code around them does. Rows of versions and of the audit log are never deleted.
"""

from typing import Any

from sqlalchemy import JSON, Column, Index, text
from sqlmodel import Field, SQLModel

from services.promotion.stages import Stage

_IS_CHAMPION = text(f"stage = '{Stage.CHAMPION}'")


class ModelRow(SQLModel, table=True):
    """A model version: immutable but for its stage and what the gate said."""

    __tablename__ = "promotion_models"
    __table_args__ = (
        Index(
            "promotion_one_champion",
            "workload",
            unique=True,
            sqlite_where=_IS_CHAMPION,
            postgresql_where=_IS_CHAMPION,
        ),
    )
    version: str = Field(primary_key=True)
    workload: str = Field(index=True)
    stage: str = Stage.NEW
    base: str  # the key in [models]
    run_uri: str | None = None  # None: the bare base
    adapter_sha256: str | None = None
    preset: str | None = None
    snapshot_id: str | None = None
    snapshot_uri: str | None = None
    created_at: str  # RFC 3339, UTC
    verdict: str | None = None
    reasons: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    measured_against: str | None = None
    decided_at: str | None = None
    report_uri: str | None = None
    holdout_snapshot_id: str | None = None
    predecessor: str | None = None  # the champion it took over from; where a rollback leads


class WorkRow(SQLModel, table=True):
    """A candidate on its way to a verdict and, with luck, into the plan; deleted when it got there."""

    __tablename__ = "promotion_work"
    version: str = Field(primary_key=True)
    workload: str = Field(index=True)
    state: str  # WANTED, ASKED or PROMOTING
    champion: str | None = None  # measured against
    holdout_uri: str | None = None
    holdout_snapshot_id: str | None = None
    job_id: str | None = None
    attempts: int = 0  # failed ones in this state
    retry_at: float = 0.0  # Unix seconds
    error: str | None = None  # what the last attempt said


WANTED, ASKED, PROMOTING = "wanted", "asked", "promoting"


class MeasurementRow(SQLModel, table=True):
    """What the scheduler said of an evaluation; it may come before the answer to the call that ordered it."""

    __tablename__ = "promotion_measurements"
    job_id: str = Field(primary_key=True)
    workload: str
    evaluation_uri: str | None = None
    failure: str | None = None


class HoldoutVersionRow(SQLModel, table=True):
    """A version of a workload's holdout, with an alpha budget of its own (ledger.py)."""

    __tablename__ = "promotion_holdout_versions"
    workload: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    size: int
    seen: list[str] = Field(sa_column=Column(JSON, nullable=False))  # sorted


class DecisionRow(SQLModel, table=True):
    """A decision that spent alpha; never changed or deleted. What it found stands with it, so it always reads alike."""

    __tablename__ = "promotion_decisions"
    version: str = Field(primary_key=True)
    champion: str = Field(primary_key=True)
    holdout_snapshot_id: str = Field(primary_key=True)
    workload: str = Field(index=True)
    holdout: int  # the number of the holdout's version
    alpha: float
    spent_before: float
    decisions_before: int
    verdict: str
    at: str


class AuditRow(SQLModel, table=True):
    """One edge of the log; `hash` covers the row and the hash before it."""

    __tablename__ = "promotion_audit"
    id: int | None = Field(default=None, primary_key=True)
    at: str
    workload: str = Field(index=True)
    version: str
    before: str
    after: str
    who: str
    why: str
    report_sha256: str | None = None
    previous: str
    hash: str


class PlanRow(SQLModel, table=True):
    """The one serving plan (id 1). Its row is also the lock that every stage change takes."""

    __tablename__ = "promotion_plan"
    id: int = Field(default=1, primary_key=True)
    plan_version: int = 0
    workloads: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
