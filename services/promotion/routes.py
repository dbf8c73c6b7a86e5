"""Promotion's HTTP calls; shapes in docs/interfaces.md. Thin: what they do is in serving.py and the registry."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from services.promotion.audit import verify_chain
from services.promotion.plan import etag_of
from services.promotion.reconcile import Reconciler
from services.promotion.reporting import REPORT_HTML, REPORT_JSON
from services.promotion.repository import Registry
from services.promotion.serving import Stewardship, UnknownVersion
from services.promotion.spending import standing
from services.promotion.stages import Stage
from services.promotion.tables import ModelRow
from shared.artifacts import path_of, verify
from shared.db import reading
from shared.errors import Unavailable
from shared.text import Text

# The page is one file with its styles inside; text captured from users is in it, so no script may run there.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}
Who = Annotated[Text, Field(min_length=1, max_length=200)]
Why = Annotated[Text, Field(max_length=4000)]
Version = Annotated[Text, Field(max_length=200)]


class Promotion(BaseModel):
    model_config = ConfigDict(extra="forbid")
    who: Who
    why: Why = ""
    override: bool = False


class Rollback(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    who: Who
    why: Why = ""
    to: Version | None = None
    leaving: Version | None = None  # the version to get away from: makes a repeated request harmless


def create_router(engine: Engine, stewardship: Stewardship, reconciler: Reconciler) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/plan", tags=["plan"])
    def plan(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        with reading(engine) as session:
            row = Registry(session).plan()
        if row is None or not row.plan_version:
            raise Unavailable("there is no plan yet; promotion is starting")
        headers = {"ETag": etag_of(row.plan_version, row.workloads), "Cache-Control": "no-cache"}
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return JSONResponse({"plan_version": row.plan_version, "workloads": row.workloads}, headers=headers)

    @router.get("/v1/models", tags=["models"])
    def models(workload: Text | None = None) -> dict[str, Any]:
        with reading(engine) as session:
            return {"models": [_model(row) for row in Registry(session).models(workload)]}

    @router.get("/v1/models/{version}", tags=["models"])
    def model(version: Text) -> dict[str, Any]:
        return _model(_found(engine, version))

    @router.post("/v1/models/{version}/promote", tags=["models"])
    def promote(version: Text, body: Promotion) -> dict[str, Any]:
        stewardship.promote_by_hand(version, who=body.who, why=body.why, override=body.override)
        return _model(_found(engine, version))

    @router.post("/v1/workloads/{workload}/rollback", tags=["models"])
    def rollback(workload: Text, body: Rollback) -> dict[str, Any]:
        stewardship.roll_back(workload, who=body.who, why=body.why, leaving=body.leaving, to=body.to)
        with reading(engine) as session:
            champion = Registry(session).champion(workload)
        assert champion is not None
        return _model(champion)

    @router.get("/v1/reports/{name}", tags=["reports"])
    def report(name: Text) -> Response:
        version = name.removesuffix(".json")
        file, kind = (REPORT_HTML, "text/html") if version == name else (REPORT_JSON, "application/json")
        row = _found(engine, version)
        if row.report_uri is None:
            raise UnknownVersion(f"{version} has no report: it is {row.stage}")
        folder: Path = path_of(row.report_uri)
        verify(folder, "report")
        return Response((folder / file).read_bytes(), media_type=kind, headers=_PAGE_HEADERS)

    @router.get("/v1/audit", tags=["audit"])
    def audit(workload: Text | None = None) -> dict[str, Any]:
        with reading(engine) as session:
            chain = Registry(session).chain()
        edges = [
            {
                "at": edge.at,
                "workload": edge.workload,
                "version": edge.version,
                "before": edge.before,
                "after": edge.after,
                "who": edge.who,
                "why": edge.why,
                "report_sha256": edge.report_sha256,
                "hash": own,
            }
            for edge, _, own in chain
            if workload in (None, edge.workload)
        ]
        return {"edges": edges, "broken": verify_chain(chain)}

    @router.get("/v1/status", tags=["operations"])
    def status() -> dict[str, Any]:
        with reading(engine) as session:
            registry = Registry(session)
            row = registry.plan()
            return {
                "plan_version": row.plan_version if row else 0,
                "workloads": {
                    name: _workload(registry, name) | {"ledger": standing(registry, name, declared.gate)}
                    for name, declared in stewardship.fleet.deployment.workloads.items()
                },
                "replicas": [
                    {"url": r.url, "reachable": r.reachable, "adapters": list(r.adapters), "errors": list(r.errors)}
                    for r in reconciler.status()
                ],
                "waiting": [
                    {"version": work.version, "state": work.state, "attempts": work.attempts, "error": work.error}
                    for work in registry.all_work()
                ],
            }

    return router


def _found(engine: Engine, version: str) -> ModelRow:
    with reading(engine) as session:
        row = Registry(session).model(version)
    if row is None:
        raise UnknownVersion(f"there is no version {version!r}; GET /v1/models lists them")
    return row


def _workload(registry: Registry, workload: str) -> dict[str, Any]:
    champion, judged = registry.champion(workload), registry.last_judged(workload)
    under_way = (Stage.CANDIDATE, Stage.EVALUATING)
    return {
        "champion": champion.version if champion else None,
        "candidates": sum(row.stage in under_way for row in registry.models(workload)),
        "last_verdict": judged
        and {
            "version": judged.version,
            "verdict": judged.verdict,
            "reasons": judged.reasons,
            "champion": judged.measured_against,
            "decided_at": judged.decided_at,
        },
    }


def _model(row: ModelRow) -> dict[str, Any]:
    return {
        "version": row.version,
        "workload": row.workload,
        "stage": row.stage,
        "base": row.base,
        "run_uri": row.run_uri,
        "adapter_sha256": row.adapter_sha256,
        "preset": row.preset,
        "snapshot_id": row.snapshot_id,
        "snapshot_uri": row.snapshot_uri,
        "created_at": row.created_at,
        "verdict": row.verdict,
        "reasons": row.reasons,
        "report_uri": row.report_uri,
        "holdout_snapshot_id": row.holdout_snapshot_id,
        "measured_against": row.measured_against,
        "decided_at": row.decided_at,
        "predecessor": row.predecessor,
    }
