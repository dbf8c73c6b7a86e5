"""Asking for a job: by hand, by a trigger, or by promotion. Checks what is asked, then puts the order into the table.

Calls: annotation's `POST /v1/snapshots` (never inside a transaction).
Twice: the same order is the same job. A failed one is made again when a person or promotion asks, never by a trigger:
the same snapshot would fail the same way every night. One whose artifact is gone is made again.
Fails: Unusable with a sentence for what can never work; Unavailable when annotation is away.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session

from services.scheduler import jobs, repository
from services.scheduler.orders import EvaluateOrder, Order, ScoredVersion, TrainOrder, dedup_key
from services.scheduler.snapshots import Snapshot
from services.scheduler.tables import DONE, JobRow
from services.scheduler.triggers import Trigger
from shared.artifacts import path_of, read_manifest
from shared.db import transaction
from shared.errors import ArtifactInvalid, Unusable
from shared.ids import workload_of
from shared.limits import ADVISED_EXAMPLES, LEAST_EXAMPLES
from shared.workloads import Deployment, Workload


@dataclass(frozen=True, slots=True)
class Intake:
    """Where jobs are asked for: what a request needs besides itself."""

    engine: Engine
    deployment: Deployment
    presets: Mapping[str, str]  # name -> SHA-256 of its file
    training_snapshot: Callable[[str], Snapshot]  # of a workload, now; raises Unusable, Unavailable
    wake_runner: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time

    def workload(self, name: str) -> Workload:
        if name not in self.deployment.workloads:
            known = ", ".join(sorted(self.deployment.workloads))
            raise Unusable(f"{name!r} is no workload of this deployment; known: {known}")
        return self.deployment.workloads[name]


def request_training(intake: Intake, workload: str, preset: str | None, asked: jobs.Asked) -> tuple[JobRow, bool]:
    """The job that trains this workload's examples of now, and whether it is new. preset: None for the workload's."""
    declared = intake.workload(workload)
    preset = preset or declared.preset
    if preset not in intake.presets:
        raise Unusable(f"{preset!r} is no training preset; known: {', '.join(sorted(intake.presets)) or 'none'}")
    with transaction(intake.engine) as session:
        known = repository.active_examples(session, workload)
    snapshot = intake.training_snapshot(workload)
    if snapshot.examples < LEAST_EXAMPLES:
        raise Unusable(
            f"{workload} has {snapshot.examples} training examples; a training needs at least {LEAST_EXAMPLES}, and "
            f"{ADVISED_EXAMPLES} are advised: correct more answers at the desk"
        )
    model = intake.deployment.model_of(workload)
    order = TrainOrder(
        workload=workload,
        base=declared.base,
        base_path=model.path,
        preset=preset,
        preset_sha256=intake.presets[preset],
        snapshot_id=snapshot.snapshot_id,
        snapshot_uri=snapshot.uri,
        snapshot_sha256=snapshot.sha256,
        replay=model.replay,
    )
    with transaction(intake.engine) as session:
        job, new = _ask(session, order, asked, intake.clock())
        repository.use_examples(session, snapshot.example_ids, preset, job.id)
        # What annotation had curated before the snapshot and left out of it is retired there.
        for example_id in known.difference(snapshot.example_ids):
            repository.retire_example(session, example_id, workload)
    intake.wake_runner()
    return job, new


def request_evaluation(
    intake: Intake, workload: str, versions: Sequence[ScoredVersion], holdout_uri: str, asked: jobs.Asked
) -> tuple[JobRow, bool]:
    """The job that scores these versions on this holdout and the base's general suite, and whether it is new."""
    declared = intake.workload(workload)
    _check_versions(workload, versions)
    model = intake.deployment.model_of(workload)
    order = EvaluateOrder(
        workload=workload,
        base=declared.base,
        base_path=model.path,
        versions=tuple(versions),
        holdout_id=_holdout_id(workload, holdout_uri),
        holdout_uri=holdout_uri,
        scorer=declared.scorer,
        general_suite=model.general_suite,
        answer_schema=declared.answer_schema,
        scorer_options=declared.scorer_options,
        samples=declared.consistency.answers,
        temperature=declared.consistency.temperature,
        price=None if model.price is None else model.price.model_dump(),
    )
    with transaction(intake.engine) as session:
        job, new = _ask(session, order, asked, intake.clock())
    intake.wake_runner()
    return job, new


def _ask(session: Session, order: Order, asked: jobs.Asked, now: float) -> tuple[JobRow, bool]:
    key = dedup_key(order)
    live = jobs.live_job(session, key)
    if live is not None and live.state == DONE and not _artifact_stands(live):
        jobs.forget(session, live)
    if live is None and asked.trigger != Trigger.HAND and (failed := jobs.failed_job(session, key)) is not None:
        raise Unusable(
            f"job {failed.id} trained this very snapshot and failed: {failed.error}; mend the cause and ask by hand, "
            "or let new examples come"
        )
    return jobs.enqueue(session, order, asked, now)


def _artifact_stands(job: JobRow) -> bool:
    """Whether a manifest is where the job left one; its files are verified by whoever reads them."""
    result = job.result or {}
    uri = result.get("run_uri") or result.get("evaluation_uri") or ""
    try:
        read_manifest(path_of(uri))
    except ArtifactInvalid:
        return False
    return True


def _check_versions(workload: str, versions: Sequence[ScoredVersion]) -> None:
    if not versions:
        raise Unusable("versions is empty; name at least one version to evaluate")
    names = [scored.version for scored in versions]
    if len(set(names)) < len(names):
        raise Unusable(f"versions names one version twice: {', '.join(names)}")
    for scored in versions:
        try:
            owner = workload_of(scored.version)
        except ValueError as error:
            raise Unusable(str(error)) from error
        if owner != workload:
            raise Unusable(f"version {scored.version} belongs to {owner}, not to {workload}")
        if scored.run_uri is not None:
            _check_kind(scored.run_uri, "run", f"run_uri of {scored.version}")


def _holdout_id(workload: str, uri: str) -> str:
    """The content's id; a training snapshot is no exam."""
    manifest = _check_kind(uri, "snapshot", "holdout_uri")
    if manifest.get("split") != "holdout" or manifest.get("workload") != workload:
        raise Unusable(
            f"holdout_uri is {uri}, a {manifest.get('split')} snapshot of {manifest.get('workload')}; "
            f"it should be a holdout snapshot of {workload}"
        )
    return str(manifest.get("snapshot_id", uri))


def _check_kind(uri: str, kind: str, key: str) -> dict[str, object]:
    manifest = read_manifest(path_of(uri))
    if manifest["kind"] != kind:
        raise Unusable(f"{key} is {uri}, which holds a {manifest['kind']}; it should be a {kind}")
    return manifest
