"""A candidate's way: its evaluation ordered, its figures judged, its promotion carried out. One step at a time.

WANTED -> (holdout snapshot, evaluation ordered) -> ASKED -> (the scheduler's word) -> judged -> done, or PROMOTING
-> (loaded everywhere) -> champion. Calls to others stand between transactions, never inside one. Each step begins from
what the database says and ends in one transaction, so kill -9 at any point repeats a step and changes nothing:
the same holdout is the same snapshot, the same order the same job, the same verdict the same report.

Emits: StageChanged, CandidateJudged, PlanChanged.
Fails: Unavailable leaves the candidate where it is, with the sentence in the status, and is tried again later.
A candidate is always measured against the version that serves when the verdict takes effect; otherwise once more.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlmodel import Session

from services.promotion import metrics
from services.promotion.ancestry import ancestors
from services.promotion.evaluation_reading import (
    Evaluation,
    another_adapter,
    find_leakage,
    read_evaluation,
    strangers,
)
from services.promotion.fleet import Fleet, verified_adapter
from services.promotion.gate import Outcome, Policy, Verdict, judge
from services.promotion.guards import Leakage
from services.promotion.report_data import Report
from services.promotion.reporting import Case, report_sha256, seal_report
from services.promotion.repository import Registry
from services.promotion.serving import SERVICE, Stewardship
from services.promotion.spending import open_account, show_decisions_left, spend
from services.promotion.stages import Stage
from services.promotion.tables import ASKED, PROMOTING, WANTED, MeasurementRow, ModelRow, WorkRow
from services.promotion.transitions import RATCHET, ChampionChanged, move
from shared.artifacts import uri_of
from shared.db import reading, transaction
from shared.errors import Unavailable, Unusable
from shared.events import CandidateJudged, utc_now
from shared.outbox import Outbox

log = logging.getLogger(__name__)
_LONGEST_PAUSE_SECONDS = 30.0
_STAGE_OF = {Outcome.REJECT: Stage.REJECTED, Outcome.INCONCLUSIVE: Stage.INCONCLUSIVE}


class Post(Protocol):
    """Another service's POST: Unavailable may be tried again, Unusable may not (shared.calls.Caller)."""

    def post(self, path: str, body: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Candidacy:
    engine: Engine
    fleet: Fleet
    artifacts: Path
    annotation: Post
    scheduler: Post
    stewardship: Stewardship
    render: Callable[[Report], str]
    load_attempts: int
    clock: Callable[[], float] = time.time

    def advance_all(self) -> None:
        """One step of every candidate whose time has come, oldest first."""
        with reading(self.engine) as session:
            registry = Registry(session)
            works = list(registry.all_work())
            show_decisions_left(registry, self.fleet.deployment.workloads)
        for state in (WANTED, ASKED, PROMOTING):
            metrics.WORK.labels(state).set(sum(work.state == state for work in works))
        for work in works:
            if work.retry_at <= self.clock() and self.fleet.knows(work.workload):
                self.advance(work)

    def advance(self, work: WorkRow) -> None:
        step = {WANTED: self._order, ASKED: self._judge, PROMOTING: self._promote}[work.state]
        with reading(self.engine) as session:
            row = Registry(session).model(work.version)
        assert row is not None
        try:
            step(work, row)
        except Unavailable as error:
            self._put_off(work, str(error))

    # -- WANTED: ask annotation for the holdout as it is now, and the scheduler for the evaluation

    def _order(self, work: WorkRow, row: ModelRow) -> None:
        with reading(self.engine) as session:
            champion = Registry(session).champion(row.workload)
        if champion is None:
            raise Unavailable(f"{row.workload} has no champion yet")
        case = Case(row, champion.version, self.fleet.deployment.workloads[row.workload].gate)
        try:
            case = self._ask(case, champion)
        except Unusable as error:
            self._settle(work, case, _hopeless(f"it could not be measured: {error}"))
            return
        self._ordered(work, case)

    def _ask(self, case: Case, champion: ModelRow) -> Case:
        row = case.row
        verified_adapter(row.run_uri or "", row.adapter_sha256)
        snapshot = self.annotation.post("/v1/snapshots", {"workload": row.workload, "split": "holdout"})
        holdout_uri = _text(snapshot, "uri", "annotation's snapshot")
        versions = [{"version": r.version, "run_uri": r.run_uri} for r in (champion, row)]
        order = {"kind": "evaluate", "workload": row.workload, "versions": versions, "holdout_uri": holdout_uri}
        job_id = _text(self.scheduler.post("/v1/jobs", order), "job_id", "the scheduler's job")
        snapshot_id = _text(snapshot, "snapshot_id", "annotation's snapshot")
        return replace(case, holdout_uri=holdout_uri, holdout_snapshot_id=snapshot_id, job_id=job_id)

    def _ordered(self, asked: WorkRow, case: Case) -> None:
        with transaction(self.engine) as session:
            registry = Registry(session)
            registry.lock()
            work, row = registry.work(asked.version), registry.model(asked.version)
            if work is None or row is None or work.state != WANTED:
                return  # another promoter was quicker
            work.state, work.champion, work.job_id = ASKED, case.champion, case.job_id
            work.holdout_uri, work.holdout_snapshot_id = case.holdout_uri, case.holdout_snapshot_id
            _fresh(work)
            if row.stage == Stage.CANDIDATE:
                why = f"measured against {case.champion} by job {case.job_id}"
                move(registry, Outbox(session, SERVICE), row, Stage.EVALUATING, who=RATCHET, why=why)
        self.stewardship.committed()

    # -- ASKED: once the scheduler has spoken, judge

    def _judge(self, work: WorkRow, row: ModelRow) -> None:
        assert work.job_id is not None
        with reading(self.engine) as session:
            registry = Registry(session)
            measurement = registry.measurement(work.job_id)
            champion = registry.champion(row.workload)
        if measurement is None:
            return
        if champion is None or champion.version != work.champion:
            self._measure_again(work)
            return
        self._settle(work, *self._verdict(self._case(work, row), measurement))

    def _case(self, work: WorkRow, row: ModelRow) -> Case:
        return Case(
            row=row,
            champion=work.champion or "",
            gate=self.fleet.deployment.workloads[row.workload].gate,
            job_id=work.job_id,
            holdout_uri=work.holdout_uri,
            holdout_snapshot_id=work.holdout_snapshot_id,
        )

    def _verdict(self, case: Case, measurement: MeasurementRow) -> tuple[Case, Verdict]:
        """The verdict, and the case with the evaluation it rests on."""
        if measurement.evaluation_uri is None:
            return case, _hopeless(f"the evaluation failed: {measurement.failure}")
        row = case.row
        try:
            verified_adapter(row.run_uri or "", row.adapter_sha256)
            evaluation = read_evaluation(measurement.evaluation_uri, self._schema(row.workload))
            case = replace(case, evaluation=evaluation)
            if (mistaken := self._mistaken(case, evaluation)) is not None:
                return case, _hopeless(mistaken)
            leakage = self._leakage(case, evaluation)
        except Unusable as error:
            return case, _hopeless(str(error))
        with reading(self.engine) as session:
            case = replace(case, account=open_account(Registry(session), case))
        champion, candidate = evaluation.side(case.champion), evaluation.side(row.version)
        return case, judge(champion, candidate, self._policy(row.workload), leakage, case.account)

    def _leakage(self, case: Case, evaluation: Evaluation) -> Leakage:
        with reading(self.engine) as session:
            line = ancestors(Registry(session), case.champion)
        ancestry = {row.version: row.snapshot_uri for row in line if row.snapshot_uri}
        return find_leakage(evaluation, case.champion, case.row.version, case.row.snapshot_uri or "", ancestry)

    def _mistaken(self, case: Case, evaluation: Evaluation) -> str | None:
        """Why this is not the evaluation that was ordered, in words."""
        with reading(self.engine) as session:
            champion = Registry(session).model(case.champion)
        assert champion is not None
        for row in (champion, case.row):
            found = another_adapter(evaluation, row.version, row.adapter_sha256)
            if found := found or strangers(evaluation, row.version, case.holdout_uri or ""):
                return found
        return None

    def _schema(self, workload: str) -> dict[str, Any] | None:
        return self.fleet.deployment.workloads[workload].answer_schema

    def _policy(self, workload: str) -> Policy:
        declared = self.fleet.deployment.workloads[workload]
        gate = declared.gate
        return Policy(
            alpha=gate.alpha,
            floor=gate.floor,
            min_groups=gate.min_groups,
            general_margin=gate.general_margin,
            general_required=self.fleet.deployment.model_of(workload).general_suite is not None,
            schema_required=declared.answer_schema is not None,
            slice_margin=gate.slice_margin,
            slice_min_groups=gate.slice_min_groups,
            must_pass=gate.must_pass,
            length_change=gate.length_change,
            latency_ratio=gate.latency_ratio,
        )

    def _settle(self, work: WorkRow, case: Case, verdict: Verdict) -> None:
        """The report, then in one transaction: verdict, alpha spent, events, and the stage or the order to promote."""
        row = case.row
        folder = seal_report(self.artifacts, case, verdict, self.render)
        with transaction(self.engine) as session:
            registry = Registry(session)
            registry.lock()
            current, fresh = registry.work(work.version), registry.model(work.version)
            if current is None or fresh is None or current.state != work.state:
                return  # another promoter was quicker
            champion = registry.champion(row.workload)
            if work.state == ASKED and (champion is None or champion.version != case.champion):
                return  # it changed since the figures were read; the next step measures again
            if case.account is not None and case.account != open_account(registry, case):
                return  # another candidate spent in between; the next step judges with what is left
            spend(registry, case, verdict)
            self._write_verdict(session, current, fresh, case, verdict, folder)
        metrics.VERDICTS.labels(row.workload, verdict.outcome).inc()
        log.info("%s: %s: %s", row.version, verdict.outcome, "; ".join(verdict.reasons))
        self.stewardship.committed()

    def _write_verdict(
        self, session: Session, work: WorkRow, row: ModelRow, case: Case, verdict: Verdict, folder: Path
    ) -> None:
        registry, outbox = Registry(session), Outbox(session, SERVICE)
        row.verdict, row.reasons, row.decided_at = verdict.outcome, list(verdict.reasons), utc_now()
        row.measured_against, row.report_uri = case.champion, uri_of(folder)
        row.holdout_snapshot_id = case.holdout_snapshot_id
        outbox.add(
            CandidateJudged(
                workload=row.workload,
                version=row.version,
                champion=case.champion,
                verdict=verdict.outcome,
                reasons=list(verdict.reasons),
                report_uri=uri_of(folder),
            )
        )
        if verdict.outcome == Outcome.PROMOTE:
            work.state = PROMOTING
            _fresh(work)
            return
        after, why = _STAGE_OF[verdict.outcome], verdict.reasons[0]
        move(registry, outbox, row, after, who=RATCHET, why=why, report_sha256=report_sha256(folder))
        registry.finish_work(work)

    # -- PROMOTING: load everywhere, then crown

    def _promote(self, work: WorkRow, row: ModelRow) -> None:
        def finish(session: Session) -> None:
            registry = Registry(session)
            if (current := registry.work(work.version)) is not None:
                registry.finish_work(current)

        assert row.report_uri is not None
        try:
            self.stewardship.enthrone(
                row,
                who=RATCHET,
                why=row.reasons[0],
                expected=work.champion,
                then=finish,
                report_sha256=report_sha256(self.artifacts / "reports" / row.version),
            )
        except ChampionChanged:
            self._measure_again(work)
        except Unusable as error:
            self._give_up(work, row, f"passed the gate, but cannot be served: {error}")
        except Unavailable as error:
            if work.attempts + 1 < self.load_attempts:
                raise
            self._give_up(work, row, f"passed the gate, but could not be loaded {self.load_attempts} times: {error}")

    def _give_up(self, work: WorkRow, row: ModelRow, reason: str) -> None:
        assert work.job_id is not None
        with reading(self.engine) as session:
            measurement = Registry(session).measurement(work.job_id)
        assert measurement is not None  # the verdict came from it
        case, verdict = self._verdict(self._case(work, row), measurement)
        given_up = replace(verdict, outcome=Outcome.INCONCLUSIVE, reasons=(reason, *verdict.reasons))
        self._settle(work, case, given_up)

    def _measure_again(self, work: WorkRow) -> None:
        """The champion is another one now: what was measured, and a verdict on it, count for nothing."""
        with transaction(self.engine) as session:
            registry = Registry(session)
            registry.lock()
            current, row = registry.work(work.version), registry.model(work.version)
            if current is None or row is None or current.state != work.state:
                return
            current.state, current.job_id = WANTED, None
            row.verdict, row.reasons, row.report_uri, row.decided_at = None, [], None, None
            _fresh(current)
        log.info("%s is measured again: %s does not serve any more", work.version, work.champion)

    def _put_off(self, work: WorkRow, error: str) -> None:
        log.warning("%s waits: %s", work.version, error)
        metrics.WORK_RETRIES.inc()
        with transaction(self.engine) as session:
            current = Registry(session).work(work.version)
            if current is not None and current.state == work.state:
                current.attempts += 1
                current.error = error
                current.retry_at = self.clock() + min(_LONGEST_PAUSE_SECONDS, 2.0 ** min(current.attempts, 10) / 4)


def _hopeless(reason: str) -> Verdict:
    return Verdict(Outcome.INCONCLUSIVE, (reason,))


def _fresh(work: WorkRow) -> None:
    work.attempts, work.error, work.retry_at = 0, None, 0.0


def _text(answer: Any, key: str, whose: str) -> str:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise Unavailable(f"{whose} came without a {key!r}: {str(answer)[:200]}")
    return value
