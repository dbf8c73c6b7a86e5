"""Annotation's HTTP (docs/interfaces.md): the desk's calls, lineage, the retrieval backlog, snapshots, status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator
from sqlalchemy import Engine

from services.annotation import repository
from services.annotation.advice import Figures, advice
from services.annotation.counts import figures
from services.annotation.curation import REASON_LABELS, Reason, VerdictWord
from services.annotation.desk import Item, Verdict
from services.annotation.grouping import Split, text_of
from services.annotation.handlers import Now, Workloads
from services.annotation.local_desk import LocalDesk, Progress
from services.annotation.snapshots import Snapshot, take_snapshot
from shared.db import reading
from shared.text import Text, storable

MAX_TEXT_BYTES = 100_000

Row = TypeVar("Row")


def _storable(value: Any) -> Any:
    """Asked before the lengths are, which half a surrogate pair would end without a word about itself."""
    return storable(value) if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), BeforeValidator(_storable)]


class VerdictBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: VerdictWord
    ideal: Text | None = None
    reasons: list[Reason] = Field(default_factory=list)
    annotator: Name
    comment: Text | None = None

    @field_validator("ideal", "comment")
    @classmethod
    def _is_short_enough(cls, value: str | None) -> str | None:
        size = len((value or "").encode())
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"it has {size} bytes, more than the {MAX_TEXT_BYTES} that are kept; shorten it")
        return value


class SnapshotBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    workload: Text
    split: Split


class NextItem(BaseModel):
    item: Item | None
    progress: Progress


class Items(BaseModel):
    items: list[Item]


class VerdictTaken(BaseModel):
    correction_id: str
    progress: Progress


def desk_routes(desk: LocalDesk, workloads: Workloads, notify: Callable[[], None]) -> APIRouter:
    """notify: called after a verdict was kept, so that its events leave at once."""
    router = APIRouter(prefix="/v1/desk", tags=["desk"])

    @router.get("/workloads")
    def desk_workloads() -> dict[str, Any]:
        reasons = [{"value": reason.value, "label": label} for reason, label in REASON_LABELS.items()]
        waiting = desk.waiting()
        return {
            "workloads": [
                {"name": name, "answer_schema": w.answer_schema, "waiting": waiting[name], "reasons": reasons}
                for name, w in workloads.items()
            ]
        }

    @router.get("/next")
    def next_item(workload: str | None = None, annotator: str = "", after: str | None = None) -> NextItem:
        name = _known(workloads, workload) if workload else _busiest(desk)
        item, progress = desk.next(name, annotator, after)
        return NextItem(item=item, progress=progress)

    @router.get("/items")
    def items(
        workload: str,
        state: Literal["waiting", "done"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Items:
        return Items(items=desk.items(_known(workloads, workload), state, limit))

    @router.get("/items/{sample_id}")
    def one_item(sample_id: str) -> Item:
        return desk.item(sample_id)

    @router.post("/items/{sample_id}/verdict", status_code=201, responses={200: {"model": VerdictTaken}})
    def verdict(sample_id: str, body: VerdictBody, response: Response) -> VerdictTaken:
        comment = (body.comment or "").strip() or None
        given = Verdict(sample_id, body.verdict, body.ideal, frozenset(body.reasons), body.annotator, comment)
        taken = desk.submit(given)
        response.status_code = 201 if taken.created else 200
        notify()
        return VerdictTaken(correction_id=taken.correction_id, progress=taken.progress)

    return router


def lineage_routes(engine: Engine) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["lineage"])

    @router.get("/samples/{answer_id}")
    def sample(answer_id: str) -> dict[str, Any]:
        with reading(engine) as session:
            row = _found(repository.sample(session, answer_id), "sample", answer_id)
            corrections = repository.corrections_of(session, answer_id)
        return {
            "answer_id": row.answer_id,
            "workload": row.workload,
            "version": row.version,
            "messages": json.loads(row.messages),
            "answer": row.answer,
            "served_at": row.served_at,
            "state": row.state,
            "signals": json.loads(row.signals),
            "correction_ids": [c.correction_id for c in corrections],
        }

    @router.get("/corrections/{correction_id}")
    def correction(correction_id: str) -> dict[str, Any]:
        with reading(engine) as session:
            row = _found(repository.correction(session, correction_id), "correction", correction_id)
            example = repository.example_of(session, correction_id)
        return {
            "correction_id": row.correction_id,
            "sample_id": row.sample_id,
            "workload": row.workload,
            "verdict": row.verdict,
            "ideal": row.ideal,
            "reasons": json.loads(row.reasons),
            "annotator": row.annotator,
            "comment": row.comment,
            "corrected_at": row.corrected_at,
            "outcome": row.outcome,
            "refusal": row.refusal,
            "why": row.why,
            "superseded_by": row.superseded_by,
            "example_id": example.example_id if example else None,
        }

    @router.get("/examples/{example_id}")
    def example(example_id: str) -> dict[str, Any]:
        with reading(engine) as session:
            row = _found(repository.example(session, example_id), "example", example_id)
        return {
            "example_id": row.example_id,
            "correction_id": row.correction_id,
            "sample_id": row.sample_id,
            "workload": row.workload,
            "split": row.split,
            "group": row.group_id,
            "kind": row.kind,
            "state": row.state,
            "superseded_by": row.superseded_by,
        }

    @router.get("/knowledge")
    def knowledge(workload: str | None = None) -> dict[str, Any]:
        with reading(engine) as session:
            gaps = repository.knowledge_gaps(session, workload)
        return {
            "gaps": [
                {
                    "correction_id": correction.correction_id,
                    "workload": correction.workload,
                    "prompt": _last_turn(sample.messages),
                    "answer": sample.answer,
                    "ideal": correction.ideal,
                    "comment": correction.comment,
                    "annotator": correction.annotator,
                    "found_at": correction.corrected_at,
                }
                for correction, sample in gaps
            ]
        }

    return router


def loop_routes(engine: Engine, workloads: Workloads, now: Now, snapshots: Path) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["loop"])

    @router.post("/snapshots")
    def snapshot(body: SnapshotBody) -> Snapshot:
        return take_snapshot(engine, snapshots, _known(workloads, body.workload), body.split)

    @router.get("/status")
    def status() -> dict[str, Any]:
        with reading(engine) as session:
            known = {name: figures(session, name, now()[:10]) for name in workloads}
        return {"workloads": {name: _status(name, workloads, seen) for name, seen in known.items()}}

    return router


def wrong_request(_request: Request, error: Exception) -> JSONResponse:
    """A request of the wrong shape, in a sentence: where, what is wrong."""
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    # A key of the body may hold half a surrogate, which no answer can carry.
    detail = "; ".join(lines).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"detail": detail}, status_code=422)


def not_there(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=404)


def not_now(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=409)


def _status(name: str, workloads: Workloads, seen: Figures) -> dict[str, Any]:
    budget = workloads[name].selection.daily_budget
    return {
        "samples": seen.samples,
        "nominated": seen.nominated,
        "waiting": seen.waiting,
        "corrected": seen.corrected,
        "train": seen.train,
        "holdout": seen.holdout,
        "train_groups": seen.train_groups,
        "holdout_groups": seen.holdout_groups,
        "groups": seen.groups,
        "rejected": seen.rejected,
        "knowledge": seen.knowledge,
        "budget_left": max(0, budget - seen.shown_today),
        "advice": advice(name, workloads[name], seen),
    }


def _known(workloads: Workloads, name: str) -> str:
    if name not in workloads:
        raise HTTPException(404, f"no workload is called {name!r}; declared: {', '.join(sorted(workloads))}")
    return name


def _busiest(desk: LocalDesk) -> str:
    waiting = desk.waiting()
    return max(waiting, key=lambda name: waiting[name])


def _found(row: Row | None, kind: str, row_id: str) -> Row:
    if row is None:
        raise HTTPException(404, f"no {kind} has the id {row_id!r}")
    return row


def _last_turn(messages: str) -> str:
    turns = [m for m in json.loads(messages) if m.get("role") == "user"]
    return text_of(turns[-1].get("content")) if turns else ""
