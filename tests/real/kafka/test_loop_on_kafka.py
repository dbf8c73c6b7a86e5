"""`ratchet up` on a real Kafka: an answer becomes a correction becomes an example that the scheduler counts."""

from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.scenario import WORKLOAD
from shared import topics
from tests.loop.deployment import Deployment, until
from tests.real.kafka.broker import Broker
from training.tiny.house import Ticket, ticket

pytestmark = [pytest.mark.real, pytest.mark.slow]

TICKETS = 12


def test_the_loop_turns_on_kafka_though_the_broker_answers_last(broker: Broker, tmp_path: Path) -> None:
    loop = Deployment(tmp_path / "data", {}, {"RATCHET_BUS_URL": broker.url})
    try:
        with broker.stalled():
            loop.start()
            for service in ("annotation", "scheduler", "promotion"):
                until(lambda s=service: _waits_for_kafka(loop, s), f"{service} says what it waits for")
            tickets = [ticket(seed) for seed in range(TICKETS)]
            until(lambda: loop.is_ready("gateway") and loop.is_ready("model_server"), "the gateway can answer")
            answered = [_ask(loop, asked) for asked in tickets]  # the log of answers is away, and nobody waits for it
        loop.until_ready()
        until(lambda: loop.store()["samples"] == TICKETS, "annotation has every answer")
        for answer_id in answered:
            assert loop.get("annotation", f"/v1/samples/{answer_id}")["answer_id"] == answer_id

        truths = {asked.text: asked.answer for asked in tickets}
        while (item := _next(loop)) is not None:
            ideal = truths[item["messages"][-1]["content"]]
            verdict = {"annotator": "test", "verdict": "fix", "ideal": ideal, "reasons": ["format"]}
            loop.post("annotation", f"/v1/desk/items/{item['sample_id']}/verdict", verdict)
        store = loop.store()
        assert store["train"] > 0
        assert store["train"] + store["holdout"] == TICKETS
        until(lambda: _counted(loop) == store["train"], "the scheduler counts the examples")
        curated = [e for e in loop.events(topics.CURATION) if e["type"] == "ratchet.example.curated.v1"]
        assert len({e["data"]["example_id"] for e in curated}) == TICKETS
    finally:
        loop.down()


def _waits_for_kafka(loop: Deployment, service: str) -> bool:
    answer = loop.http.get(f"{loop.settings.url_of(service)}/readyz")
    assert answer.status_code == 503, answer.text
    assert loop.get(service, "/healthz")["status"] == "ok"
    return "Kafka" in answer.text


def _ask(loop: Deployment, asked: Ticket) -> str:
    body = {"model": WORKLOAD, "messages": [{"role": "user", "content": asked.text}], "max_tokens": 60}
    url = f"{loop.settings.url_of('gateway')}/v1/chat/completions"
    return str(loop.http.post(url, json=body).raise_for_status().headers["x-ratchet-answer-id"])


def _next(loop: Deployment) -> Any:
    """The next item to correct; None when each has been."""

    def look() -> Any:
        found = loop.get("annotation", f"/v1/desk/next?workload={WORKLOAD}&annotator=test")
        return found if found["item"] or found["progress"]["done"] == TICKETS else None

    return until(look, "an item waits")["item"]


def _counted(loop: Deployment) -> int:
    return int(loop.get("scheduler", "/v1/status")["workloads"][WORKLOAD]["new_examples"])
