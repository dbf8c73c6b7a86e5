"""What promotion does about each fact it hears: it writes it down; `candidacy.py` acts on it.

Reads: CandidateTrained, VersionsEvaluated, JobFailed (of evaluations)            Emits: StageChanged
Twice: a version that is registered and a job that was heard of stay as they are.
Fails: a candidate of a workload that ratchet.toml does not declare, or with a name that is not its adapter's hash, is
Unusable and goes to the dead letters.
"""

from sqlmodel import Session

from services.promotion.fleet import Fleet
from services.promotion.repository import Registry
from services.promotion.stages import Stage
from services.promotion.tables import WANTED, MeasurementRow, ModelRow, WorkRow
from services.promotion.transitions import RATCHET, move
from shared.errors import Unusable
from shared.events import CandidateTrained, JobFailed, VersionsEvaluated, utc_now
from shared.ids import version_name
from shared.outbox import Outbox


def register_candidate(event: CandidateTrained, session: Session, outbox: Outbox, *, fleet: Fleet) -> None:
    if not fleet.knows(event.workload):
        raise Unusable(f"{event.version}: workload {event.workload!r} is not declared in ratchet.toml")
    if event.version != version_name(event.workload, event.adapter_sha256):
        raise Unusable(f"{event.version} is not the name of an adapter with hash {event.adapter_sha256[:16]}...")
    registry = Registry(session)
    row = ModelRow(
        version=event.version,
        workload=event.workload,
        base=event.base,
        run_uri=event.run_uri,
        adapter_sha256=event.adapter_sha256,
        preset=event.preset,
        snapshot_id=event.snapshot_id,
        snapshot_uri=event.snapshot_uri,
        created_at=utc_now(),
    )
    if not registry.add_model(row):
        return
    added = registry.model(event.version)
    assert added is not None
    move(registry, outbox, added, Stage.CANDIDATE, who=RATCHET, why=f"trained by job {event.job_id}")
    registry.add_work(WorkRow(version=event.version, workload=event.workload, state=WANTED))


def note_evaluation(event: VersionsEvaluated, session: Session, _outbox: Outbox) -> None:
    row = MeasurementRow(job_id=event.job_id, workload=event.workload, evaluation_uri=event.evaluation_uri)
    Registry(session).add_measurement(row)


def note_failure(event: JobFailed, session: Session, _outbox: Outbox) -> None:
    if event.kind != "evaluate":
        return
    failure = f"{event.reason} (after {event.attempts} attempt(s))"
    Registry(session).add_measurement(MeasurementRow(job_id=event.job_id, workload=event.workload, failure=failure))
