"""Feedback: durable before it is answered, whenever it comes."""

from typing import Any

import pytest

from shared.ids import uuid7
from tests.services.gateway.conftest import GatewayProcess


def give(gateway: GatewayProcess, **body: Any) -> Any:
    return gateway.client.post("/v1/feedback", json=body)


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
        ({"answer_id": uuid7(), "comment": "only words"}, "at least one of"),
        ({"answer_id": uuid7(), "thumb": "up", "comment": "a\0b"}, "NUL"),
        ({"answer_id": uuid7(), "thumb": "up", "stars": 5}, "stars"),
    ],
)
def test_unusable_feedback_is_422_with_the_reason(gateway: GatewayProcess, body: dict[str, Any], reason: str) -> None:
    answer = give(gateway, **body)
    assert answer.status_code == 422
    assert reason in answer.json()["error"]["message"]


def test_feedback_that_is_no_json_is_422(gateway: GatewayProcess) -> None:
    for content in (b"{", b"\xff", b"[1]", b'{"answer_id":"\\ud800"}'):
        answer = gateway.client.post("/v1/feedback", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        assert set(answer.json()) == {"error"}


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
