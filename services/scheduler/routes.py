"""The scheduler's HTTP calls: ask for a job, look at jobs, hear Alertmanager, show how each workload stands.

Twice: the same order answers 200 with the same job; an alert is accepted once.
Fails: where an alert token is set, alerts without it are refused with 401 before their body is looked at.
"""

import hmac
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from services.scheduler import alerts, repository
from services.scheduler.jobs import Asked
from services.scheduler.metrics import TRIGGERS
from services.scheduler.orders import ScoredVersion
from services.scheduler.requests import Intake, request_evaluation, request_training
from services.scheduler.tables import JobRow, WorkloadRow
from services.scheduler.ticks import Ticker
from services.scheduler.triggers import Trigger
from shared.db import reading, transaction
from shared.text import Text

Words = Annotated[Text, Field(max_length=2000)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Uri = Annotated[Text, Field(min_length=1, max_length=4096)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TrainRequest(_Body):
    kind: Literal["train"]
    workload: Name
    preset: Name | None = None
    who: Words = ""
    why: Words = ""


class VersionToScore(_Body):
    version: Name
    run_uri: Uri | None = None


class EvaluateRequest(_Body):
    kind: Literal["evaluate"]
    workload: Name
    versions: Annotated[list[VersionToScore], Field(max_length=20)]
    holdout_uri: Uri
    who: Words = ""
    why: Words = ""


JobRequest = Annotated[TrainRequest | EvaluateRequest, Field(discriminator="kind")]


def router(intake: Intake, ticker: Ticker, wake_triggers: Callable[[], None], alert_token: str = "") -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.post("/jobs", status_code=202)
    def ask_for_a_job(body: JobRequest, response: Response) -> dict[str, str]:
        if isinstance(body, TrainRequest):
            asked = Asked(Trigger.HAND, body.who, body.why or "asked for by hand")
            job, new = request_training(intake, body.workload, body.preset, asked)
            TRIGGERS.labels(Trigger.HAND).inc(int(new))
        else:
            asked = Asked(Trigger.HAND, body.who or "promotion", body.why or "a candidate is to be measured")
            versions = [ScoredVersion(version=v.version, run_uri=v.run_uri) for v in body.versions]
            job, new = request_evaluation(intake, body.workload, versions, body.holdout_uri, asked)
        response.status_code = 202 if new else 200
        return {"job_id": job.id, "state": job.state}

    @routes.get("/jobs")
    def list_jobs(
        workload: Text | None = None,
        state: Text | None = None,
        kind: Text | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, list[dict[str, Any]]]:
        with reading(intake.engine) as session:
            rows = repository.jobs(session, workload=workload, state=state, kind=kind, limit=limit)
            return {"jobs": [job_shown(row) for row in rows]}

    @routes.get("/jobs/{job_id}")
    def show_job(job_id: Text) -> dict[str, Any]:
        with reading(intake.engine) as session:
            row = session.get(JobRow, job_id)
            if row is None:
                raise HTTPException(404, f"there is no job {job_id}; GET /v1/jobs lists them")
            return job_shown(row)

    def knows_the_token(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, given = authorization.partition(" ")
        # Both sides as bytes: a header may hold what is no ASCII, and the comparison must not tell by its time.
        same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), alert_token.encode())
        if alert_token and not (scheme.lower() == "bearer" and same):
            raise HTTPException(
                401,
                "an alert needs the header `Authorization: Bearer TOKEN` with RATCHET_SCHEDULER_ALERT_TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    @routes.post("/alerts", status_code=202, dependencies=[Depends(knows_the_token)])
    def hear_alerts(body: alerts.Webhook) -> dict[str, list[dict[str, Any]]]:
        with transaction(intake.engine) as session:
            answer = alerts.receive(session, body, intake.deployment, intake.clock())
        wake_triggers()
        return answer

    @routes.get("/status")
    def status() -> dict[str, Any]:
        with reading(intake.engine) as session:
            workloads = {name: _workload_shown(session, name, intake, ticker) for name in intake.deployment.workloads}
            return {"workloads": workloads, "jobs": repository.counts(session)}

    return routes


def job_shown(row: JobRow) -> dict[str, Any]:
    return {
        "job_id": row.id,
        "kind": row.kind,
        "workload": row.workload,
        "state": row.state,
        "attempts": row.attempts,
        "trigger": row.trigger,
        "who": row.who,
        "why": row.why,
        "preset": row.order.get("preset"),
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
        "error": row.error,
        "progress": row.progress,
        "result": row.result,
    }


def _workload_shown(session: Session, name: str, intake: Intake, ticker: Ticker) -> dict[str, Any]:
    declared = intake.workload(name)
    standing = repository.standing(session, name, declared.preset)
    decision = ticker.decision(name, standing, intake.clock())
    last, memory = repository.last_training(session, name), session.get(WorkloadRow, name)
    return {
        "new_examples": standing.new_examples,
        "trigger": declared.trigger.model_dump() | {"decision": type(decision).__name__.lower()},
        "last_training": job_shown(last) if last else None,
        "last_verdict": memory.last_verdict if memory else None,
        "next": decision.why,
        "standing": asdict(standing),
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
