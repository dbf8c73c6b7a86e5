"""What a caller is told when there is no answer: OpenAI's error body with vLLM's types.

Refusal is raised anywhere on a request's way and becomes {"error": {"message", "type", "param", "code"}}.
Malformed bodies read as vLLM writes them: "1 validation error:" and what was found where.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

LONGEST_QUOTE = 100


class Refusal(Exception):
    def __init__(self, status: int, type_: str, message: str, param: str | None = None, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status, self.type, self.message, self.param, self.retry = status, type_, message, param, retry

    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.status}
        return {"error": error}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, headers={"retry-after": "1"} if self.retry else None)


def bad_request(message: str, param: str | None = None, value: object = None) -> Refusal:
    """param and value: the one field that is wrong, quoted behind the message."""
    if value is not None:
        message = f"{message} (parameter={param}, value={value})"
    return Refusal(400, "BadRequestError", message, param)


def user_error(message: str) -> Refusal:
    return Refusal(400, "InvalidUserInput", message)


def not_found(message: str, param: str | None = None) -> Refusal:
    return Refusal(404, "NotFoundError", message, param)


def too_large(limit_bytes: int) -> Refusal:
    message = f"The request body is larger than {limit_bytes} bytes, the most this server reads; send less."
    return Refusal(413, "RequestTooLarge", message)


def busy(why: str) -> Refusal:
    return Refusal(503, "ServiceUnavailableError", why, retry=True)


def internal(why: str) -> Refusal:
    return Refusal(500, "InternalServerError", why)


def malformed_json(position: int, why: str) -> Refusal:
    found = {
        "type": "json_invalid",
        "loc": f"body.{position}",
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": why},
    }
    return _validation([found])


def missing_body() -> Refusal:
    return _validation([{"type": "missing", "loc": "body", "msg": "Field required", "input": None}])


def invalid(error: ValidationError) -> Refusal:
    return _validation(
        [
            {"type": e["type"], "loc": ".".join(map(str, ("body", *e["loc"]))), "msg": e["msg"], "input": e["input"]}
            for e in error.errors(include_url=False, include_context=False)
        ]
    )


def _validation(errors: list[dict[str, Any]]) -> Refusal:
    many = "s" if len(errors) > 1 else ""
    lines = [f"  {dict(error, input=_quoted(error['input']))}" for error in errors]
    message = "\n".join([f"{len(errors)} validation error{many}:", *lines])
    return Refusal(400, "Bad Request", message, errors[0]["loc"])


def _quoted(found: object) -> object:
    """Short: a caller's own megabytes are not sent back."""
    if isinstance(found, Mapping | list | tuple):
        return f"<{'dict' if isinstance(found, Mapping) else 'list'} of {len(found)} items>"
    if isinstance(found, str) and len(found) > LONGEST_QUOTE:
        return found[:LONGEST_QUOTE] + "..."
    return found
