"""Feedback: durable before it is answered, whenever it comes."""

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from services.gateway.routes import FeedbackBody
from shared.ids import uuid7
from tests.readme_tables import README
from tests.services.gateway.conftest import GatewayProcess


def give(gateway: GatewayProcess, **body: Any) -> Any:
    return gateway.client.post("/v1/feedback", json=body)


def post(gateway: GatewayProcess, content: bytes) -> Any:
    return gateway.client.post("/v1/feedback", content=content, headers={"content-type": "application/json"})


def test_feedback_on_an_answer_reaches_the_bus(gateway: GatewayProcess) -> None:
    answer_id = gateway.ask().headers["x-ratchet-answer-id"]
    answer = give(gateway, answer_id=answer_id, thumb="down", comment="wrong queue", suggested_answer="net")
    assert answer.status_code == 202
    given = gateway.feedback(answer.json()["feedback_id"])
    assert (given.answer_id, given.thumb, given.comment, given.suggested_answer) == (
        answer_id,
        "down",
        "wrong queue",
        "net",
    )
    assert given.given_at.endswith("Z")


def test_the_calls_that_the_readme_shows_are_answered(gateway: GatewayProcess) -> None:
    shown = re.findall(r"curl [^\n]*http://127\.0\.0\.1:8080(\S+) [^\n]*\n *-d '([^']+)'", README.read_text("utf-8"))
    (chat_path, chat), (feedback_path, feedback) = ((path, json.loads(body)) for path, body in shown)
    answer = gateway.client.post(chat_path, json=chat)
    assert answer.status_code == 200
    answer_id = answer.headers["x-ratchet-answer-id"]
    assert len(answer_id) == len(feedback["answer_id"])
    assert gateway.client.post(feedback_path, json={**feedback, "answer_id": answer_id}).status_code == 202
    assert gateway.client.post(feedback_path, json=feedback).status_code == 202


def test_feedback_that_comes_before_its_answer_is_kept(gateway: GatewayProcess) -> None:
    unheard_of = uuid7()
    answer = give(gateway, answer_id=unheard_of, score=0.25)
    assert answer.status_code == 202
    assert gateway.feedback(answer.json()["feedback_id"]).answer_id == unheard_of


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"answer_id": "not-an-id", "thumb": "up"}, "answer_id"),
        ({"thumb": "up"}, "answer_id"),
        ({"answer_id": uuid7(), "thumb": "sideways"}, "thumb"),
        ({"answer_id": uuid7(), "score": 1.5}, "score"),
        ({"answer_id": uuid7(), "score": "high"}, "score"),
        ({"answer_id": uuid7(), "score": "1"}, "score: should be a number, without quotes"),
        ({"answer_id": uuid7(), "score": True}, "score: should be a number, without quotes"),
        ({"answer_id": 5, "thumb": "up"}, "answer_id: should be a text in quotes"),
        ({"answer_id": uuid7(), "thumb": True}, "thumb: should be 'up' or 'down'"),
        ({"answer_id": uuid7(), "thumb": "up", "comment": ["x"]}, "comment: should be a text in quotes"),
        ({"answer_id": uuid7(), "thumb": "up", "comment": "x" * 20_001}, "comment: has 20001 characters; at most"),
        ({"answer_id": uuid7(), "comment": "only words"}, "at least one of"),
        ({"answer_id": uuid7(), "thumb": "up", "comment": "a\0b"}, "NUL"),
        ({"answer_id": uuid7(), "thumb": "up", "comment": "a\ud800"}, "surrogate pair"),
        ({"answer_id": uuid7(), "suggested_answer": "\udc00b"}, "surrogate pair"),
        ({"answer_id": uuid7(), "thumb": "\ud800"}, "surrogate pair"),
        ({"answer_id": "\ud800", "thumb": "up"}, "surrogate pair"),
        ({"answer_id": uuid7(), "thumb": "up", "\ud800": 1}, "the body"),
        ({"answer_id": uuid7(), "thumb": "up", "stars": 5}, "stars"),
        ({"answer_id": uuid7(), "thumb": "up"} | {f"star{n}": n for n in range(10_000)}, "star0"),
    ],
)
def test_unusable_feedback_is_400_with_the_reason(gateway: GatewayProcess, body: dict[str, Any], reason: str) -> None:
    answer = post(gateway, json.dumps(body).encode())
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert reason in error["message"]
    assert len(error["message"]) < 4000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b"3", b'{"thumb": "up",, "score": 1}', b"[" * 100_000])
def test_feedback_that_is_no_json_object_is_400(gateway: GatewayProcess, content: bytes) -> None:
    answer = post(gateway, content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] is None


ID = "01a1fb80-4326-7e72-94c8-104bffa7af0c"  # the same in every worker, or they would not collect the same tests


@pytest.mark.parametrize("answer_id", ["nope", "", ID.upper(), f"{ID}\n", "x" * 10_000])
def test_what_is_no_answers_id_is_said_in_words(answer_id: str) -> None:
    with pytest.raises(ValidationError) as refused:
        FeedbackBody(answer_id=answer_id, thumb="up")
    (error,) = refused.value.errors()
    assert "is no answer's id; send what its answer's header x-ratchet-answer-id says" in error["msg"]
    assert "[0-9a-f]" not in error["msg"]
    assert len(error["msg"]) < 200


def test_malformed_json_is_said_in_a_sentence(gateway: GatewayProcess) -> None:
    error = post(gateway, b'{"thumb": "up",, "score": 1}').json()["error"]
    assert error["message"].startswith("the body is not usable JSON: ")
    assert error["message"].endswith("(byte 15)")


def test_openapi_describes_every_route_and_the_hot_one(gateway: GatewayProcess) -> None:
    for _ in range(2):
        paths = gateway.client.get("/openapi.json").json()["paths"]
        assert {"/v1/chat/completions", "/v1/feedback", "/v1/models", "/v1/status", "/readyz"} <= set(paths)


def test_ready_and_status_say_what_serves(gateway: GatewayProcess) -> None:
    assert gateway.client.get("/readyz").json() == {"status": "ready", "objections": []}
    status = gateway.client.get("/v1/status").json()
    assert status["plan_version"] == 0
    assert status["workloads"]["plain"]["share"] == 1.0
    assert status["spool_max_bytes"] == 1 << 30


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_feedback_is_json_whatever_its_content_type_says(gateway: GatewayProcess, content_type: str | None) -> None:
    content = json.dumps({"answer_id": uuid7(), "score": 1}).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    assert gateway.client.post("/v1/feedback", content=content, headers=headers).status_code == 202


@pytest.mark.parametrize("nested", [b"[" * 5000, b'{"comment":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_feedback_that_is_nested_too_deep_is_told_as_on_the_chat_route(gateway: GatewayProcess, nested: bytes) -> None:
    chat = gateway.client.post("/v1/chat/completions", content=nested).json()
    assert post(gateway, nested).json() == chat
    assert "nested deeper than 200 levels" in chat["error"]["message"]


def test_the_description_of_feedback_has_its_fields(gateway: GatewayProcess) -> None:
    described = gateway.client.get("/openapi.json").json()["paths"]["/v1/feedback"]["post"]["requestBody"]
    assert set(described["content"]["application/json"]["schema"]["properties"]) == set(FeedbackBody.model_fields)
