"""Every query of promotion. Nothing here commits, and nothing here decides."""

from collections.abc import Sequence

from sqlmodel import Session, col, func, select

from services.promotion.audit import GENESIS, Edge, hash_of
from services.promotion.ledger import HoldoutVersion
from services.promotion.stages import Stage
from services.promotion.tables import (
    AuditRow,
    DecisionRow,
    HoldoutVersionRow,
    MeasurementRow,
    ModelRow,
    PlanRow,
    WorkRow,
)
from shared.db import insert_once, put


class Registry:
    """The rows of one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lock(self) -> PlanRow:
        """The plan's row, held until the transaction ends: stage changes happen one after the other."""
        insert_once(self._session, PlanRow(id=1))
        query = select(PlanRow).where(PlanRow.id == 1).with_for_update()
        return self._session.exec(query.execution_options(populate_existing=True)).one()

    def plan(self) -> PlanRow | None:
        return self._session.get(PlanRow, 1)

    def model(self, version: str) -> ModelRow | None:
        return self._session.get(ModelRow, version)

    def models(self, workload: str | None = None) -> Sequence[ModelRow]:
        """Newest first."""
        query = select(ModelRow).order_by(col(ModelRow.created_at).desc(), col(ModelRow.version))
        return self._session.exec(query if workload is None else query.where(ModelRow.workload == workload)).all()

    def champion(self, workload: str) -> ModelRow | None:
        query = select(ModelRow).where(ModelRow.workload == workload, ModelRow.stage == Stage.CHAMPION)
        return self._session.exec(query).one_or_none()

    def champions(self) -> Sequence[ModelRow]:
        return self._session.exec(select(ModelRow).where(ModelRow.stage == Stage.CHAMPION)).all()

    def last_judged(self, workload: str) -> ModelRow | None:
        query = select(ModelRow).where(ModelRow.workload == workload, col(ModelRow.verdict).is_not(None))
        return self._session.exec(query.order_by(col(ModelRow.decided_at).desc())).first()

    def add_model(self, row: ModelRow) -> bool:
        """False when the version is already there; it then stays as it is."""
        return insert_once(self._session, row)

    def work(self, version: str) -> WorkRow | None:
        return self._session.get(WorkRow, version)

    def all_work(self) -> Sequence[WorkRow]:
        """Oldest candidate first."""
        query = select(WorkRow, ModelRow).where(WorkRow.version == ModelRow.version).order_by(ModelRow.created_at)
        return [work for work, _ in self._session.exec(query).all()]

    def add_work(self, row: WorkRow) -> None:
        insert_once(self._session, row)

    def finish_work(self, work: WorkRow) -> None:
        self._session.delete(work)

    def measurement(self, job_id: str) -> MeasurementRow | None:
        return self._session.get(MeasurementRow, job_id)

    def add_measurement(self, row: MeasurementRow) -> None:
        insert_once(self._session, row)

    def decision(self, version: str, champion: str, holdout_snapshot_id: str) -> DecisionRow | None:
        return self._session.get(DecisionRow, (version, champion, holdout_snapshot_id))

    def add_decision(self, row: DecisionRow) -> None:
        insert_once(self._session, row)

    def spent(self, workload: str, holdout: int) -> tuple[float, int]:
        """The alpha that decisions on a version of the holdout spent, and how many they are."""
        of_it = (DecisionRow.workload == workload, DecisionRow.holdout == holdout)
        spent, decisions = self._session.exec(
            select(func.coalesce(func.sum(DecisionRow.alpha), 0.0), func.count()).where(*of_it)
        ).one()
        return round(float(spent), 9), int(decisions)

    def last_holdout_number(self, workload: str) -> int | None:
        query = select(func.max(HoldoutVersionRow.number)).where(HoldoutVersionRow.workload == workload)
        return self._session.exec(query).one()

    def last_holdout_version(self, workload: str) -> HoldoutVersion | None:
        number = self.last_holdout_number(workload)
        return None if number is None else self.holdout_version(workload, number)

    def holdout_version(self, workload: str, number: int) -> HoldoutVersion:
        row = self._session.get(HoldoutVersionRow, (workload, number))
        assert row is not None  # written with the first decision on it, and never deleted
        return HoldoutVersion(row.number, row.size, frozenset(row.seen))

    def put_holdout_version(self, workload: str, version: HoldoutVersion) -> None:
        row = HoldoutVersionRow(workload=workload, number=version.number, size=version.size, seen=sorted(version.seen))
        put(self._session, row)

    def append_edge(self, edge: Edge) -> None:
        """Call `lock` first: two chains would grow from one row otherwise."""
        last = self._session.exec(select(AuditRow.hash).order_by(col(AuditRow.id).desc())).first()
        previous = last or GENESIS
        row = AuditRow(
            at=edge.at,
            workload=edge.workload,
            version=edge.version,
            before=edge.before,
            after=edge.after,
            who=edge.who,
            why=edge.why,
            report_sha256=edge.report_sha256,
            previous=previous,
            hash=hash_of(previous, edge),
        )
        self._session.add(row)
        self._session.flush()

    def chain(self) -> list[tuple[Edge, str, str]]:
        """Every edge with the hash before it and its own, oldest first."""
        rows = self._session.exec(select(AuditRow).order_by(col(AuditRow.id))).all()
        return [(_edge(row), row.previous, row.hash) for row in rows]

    def flush(self) -> None:
        self._session.flush()


def _edge(row: AuditRow) -> Edge:
    return Edge(row.at, row.workload, row.version, row.before, row.after, row.who, row.why, row.report_sha256)
