"""The gateway's other routes, plain FastAPI: feedback, models, status; errors in OpenAI's shape as on the hot route.

Feedback is durable in the spool before it is answered (202); what is wrong with it is 400, in words. It may come before
its answer's record is anywhere: annotation joins the two. Given twice it is two pieces of feedback, in the order they
came.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from starlette.exceptions import HTTPException

from services.gateway import metrics
from services.gateway.refusals import INVALID, RETRY_AFTER_SECONDS, Refused, bad_request, spool_broken, spool_full
from services.gateway.routing import RoutingTable
from services.gateway.wire import decode_object
from shared import topics
from shared.bus import Outgoing
from shared.errors import Unavailable
from shared.events import FeedbackGiven, encode, utc_now
from shared.field_words import in_words
from shared.ids import uuid7
from shared.sqlite_log import Spool
from shared.text import Text

CHAT_PATH = "/v1/chat/completions"


MAX_SENTENCES = 10
MAX_SENTENCE_CHARS = 300
MAX_SHOWN_CHARS = 60
ANSWER_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


class FeedbackBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    answer_id: str = Field(description="the answer's x-ratchet-answer-id", json_schema_extra={"pattern": ANSWER_ID})
    thumb: Literal["up", "down"] | None = None
    score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    comment: Text | None = Field(None, max_length=20_000)
    suggested_answer: Text | None = Field(None, max_length=200_000)

    @field_validator("answer_id")
    @classmethod
    def _is_an_answers_id(cls, value: str) -> str:
        if not re.fullmatch(ANSWER_ID, value):
            found = f"{value[:MAX_SHOWN_CHARS]!r}{'...' if len(value) > MAX_SHOWN_CHARS else ''}"
            raise ValueError(f"{found} is no answer's id; send what its answer's header x-ratchet-answer-id says")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackBody":
        if self.thumb is None and self.score is None and not self.suggested_answer:
            raise ValueError("give at least one of thumb, score and suggested_answer")
        return self


def parse_feedback(body: bytes) -> FeedbackBody:
    """Read as JSON whatever the content type, as the chat route does; refused (400) in words."""
    values, _ = decode_object(body)
    try:
        return FeedbackBody.model_validate(values)
    except ValidationError as error:
        errors = error.errors()[:MAX_SENTENCES]
        raise bad_request("; ".join(_sentence(e)[:MAX_SENTENCE_CHARS] for e in errors), _param(errors[0])) from error


def add_routes(
    app: FastAPI, spool: Spool, table: Callable[[], RoutingTable], answered: Callable[[], int], started_at: int
) -> None:
    @app.post("/v1/feedback", status_code=202, openapi_extra=_feedback_described())
    async def give_feedback(request: Request) -> dict[str, str]:
        body = parse_feedback(await request.body())
        if spool.is_full():
            raise spool_full(spool.max_bytes)
        feedback_id = uuid7()
        given = FeedbackGiven(feedback_id=feedback_id, given_at=utc_now(), **body.model_dump())
        record = Outgoing(topics.FEEDBACK, body.answer_id, encode(given, "gateway", event_id=feedback_id))
        try:
            await spool.append(record)
        except Unavailable as error:
            raise spool_broken(error) from error
        metrics.FEEDBACK.inc()
        return {"feedback_id": feedback_id}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        names = sorted(table().workloads)
        listed = [{"id": n, "object": "model", "created": started_at, "owned_by": "ratchet"} for n in names]
        return {"object": "list", "data": listed}

    @app.get("/v1/status")
    async def status() -> dict[str, Any]:
        current = table()
        workloads = {}
        for name, routes in current.workloads.items():
            shares = [{"version": route.version, "share": route.share} for route in routes.routes]
            workloads[name] = {"version": routes.main.version, "share": routes.main.share, "routes": shares}
        return {
            "plan_version": current.plan_version,
            "workloads": workloads,
            "answers_total": answered(),
            "spool_records": spool.depth_records,
            "spool_bytes": spool.depth_bytes,
            "spool_max_bytes": spool.max_bytes,
        }


def add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_request: Request, refusal: Refused) -> Response:
        return _response(refusal)

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        return _response(Refused(error.status_code, str(error.detail), INVALID, "http_error"), error.headers)


def describe_chat(schema: dict[str, Any]) -> dict[str, Any]:
    """The hot route in the OpenAPI description; FastAPI never sees its requests."""
    responses = {
        "200": {"description": "a chat completion, or its stream of events; recorded before its end is sent"},
        "400": {"description": "the request cannot be used"},
        "404": {"description": "`model` is no workload"},
        "503": {"description": "nobody can answer, or record, now: Retry-After"},
    }
    body = {"type": "object", "required": ["model", "messages"], "additionalProperties": True}
    schema["paths"][CHAT_PATH] = {
        "post": {
            "summary": "Create Chat Completion",
            "description": "OpenAI's chat completions; `model` is a workload. Unknown fields pass to the model server.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": responses,
        }
    }
    return schema


def _feedback_described() -> dict[str, Any]:
    """For the OpenAPI description: the body is read by hand."""
    schema = FeedbackBody.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _param(error: Any) -> str | None:
    """The field that is wrong; None when it is the body as a whole."""
    return ".".join(str(p) for p in error["loc"])[:MAX_SENTENCE_CHARS] or None


def _sentence(error: Any) -> str:
    where = ".".join(str(p) for p in error["loc"]) or "the body"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a known field; known: {', '.join(FeedbackBody.model_fields)}"
    return f"{where}: {in_words(error, of_keys='an object')}"


def _response(refusal: Refused, headers: Any = None) -> Response:
    headers = dict(headers or {})
    if refusal.retry:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return Response(refusal.body(), refusal.status, headers, "application/json")
