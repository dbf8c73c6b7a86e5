"""The gateway follows promotion's plan: without a dropped request, without promotion, never to a worse plan."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway import plan_client
from services.gateway.plan_client import PlanClient
from services.gateway.upstream import Upstream
from shared.errors import Unavailable, Unusable
from shared.workloads import Deployment
from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually
from tests.services.gateway.scripted import Asked, ScriptedServer

OLD, NEW = "plain@1111111111111111", "plain@2222222222222222"


class Promotion(ScriptedServer):
    """Promotion as far as the gateway sees it: the plan, with its ETag."""

    def __init__(self, port: int) -> None:
        self.body = b"{}"
        self.unchanged = 0
        super().__init__(port)
        self.script = self._plan

    def publish(self, plan_version: int, routes: dict[str, float], upstreams: list[str]) -> None:
        planned = [{"version": v, "model": v, "share": share} for v, share in routes.items()]
        plan = {"plan_version": plan_version, "workloads": {"plain": {"routes": planned, "upstreams": upstreams}}}
        self.body = json.dumps(plan).encode()

    async def _plan(self, asked: Asked) -> None:
        etag = str(hash(self.body))
        if f"if-none-match: {etag}".encode() in asked.head:
            self.unchanged += 1
            await asked.answer(304, b"")
        else:
            await asked.answer(200, self.body, extra=f"ETag: {etag}\r\n")


class Replica(ScriptedServer):
    """Answers for what it has loaded, 404 for the rest; says in its answer which version it was asked for."""

    def __init__(self) -> None:
        self.loaded = {OLD}
        super().__init__()
        self.script = self._answer

    async def _answer(self, asked: Asked) -> None:
        model = asked.json["model"]
        if model not in self.loaded:
            await asked.answer(404, b'{"error":{"message":"does not exist","type":"NotFoundError"}}')
        elif asked.json.get("stream"):
            await asked.stream([model])
        else:
            await asked.complete(model)


@pytest.fixture
def replicas() -> Iterator[list[Replica]]:
    made = [Replica(), Replica()]
    yield made
    for replica in made:
        replica.close()


@pytest.fixture
def gateway(own_gateway: Callable[..., GatewayProcess], replicas: list[Replica]) -> GatewayProcess:
    return own_gateway(",".join(r.url for r in replicas))


@pytest.fixture
def promotion(gateway: GatewayProcess) -> Iterator[Promotion]:
    made = Promotion(gateway.promotion_port)
    yield made
    made.close()


def plan_version(gateway: GatewayProcess) -> int:
    found: int = gateway.client.get("/v1/status").json()["plan_version"]
    return found


def version_of(gateway: GatewayProcess, **extra: Any) -> str:
    return str(gateway.ask({**HELLO, **extra}).headers["x-ratchet-version"])


def test_a_swap_under_eight_clients_fails_nobody(
    gateway: GatewayProcess, promotion: Promotion, replicas: list[Replica]
) -> None:
    promotion.publish(1, {OLD: 1.0}, [r.url for r in replicas])
    gateway.start()
    eventually(lambda: plan_version(gateway) == 1)
    versions: list[str] = []
    failures: list[str] = []
    stopping = threading.Event()

    def keep_asking(stream: bool) -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            while not stopping.is_set():
                answer = client.post("/v1/chat/completions", json={**HELLO, "stream": stream})
                version = answer.headers.get("x-ratchet-version", "")
                if answer.status_code != 200 or version not in answer.text:
                    failures.append(answer.text)
                versions.append(version)

    clients = [threading.Thread(target=keep_asking, args=(n % 2 == 0,)) for n in range(8)]
    for client in clients:
        client.start()
    eventually(lambda: len(versions) > 40)
    replicas[0].loaded.add(NEW)  # the other one is still loading it
    promotion.publish(2, {NEW: 1.0}, [r.url for r in replicas])
    eventually(lambda: versions.count(NEW) > 40)
    replicas[1].loaded.add(NEW)
    many = len(versions)
    eventually(lambda: len(versions) > many + 40)
    stopping.set()
    for client in clients:
        client.join(30)
    assert failures == []
    assert set(versions[-8:]) == {NEW}
    assert versions[0] == OLD


def test_the_plan_is_kept_for_a_start_without_promotion(
    gateway: GatewayProcess, promotion: Promotion, replicas: list[Replica]
) -> None:
    promotion.publish(7, {OLD: 1.0}, [r.url for r in replicas])
    gateway.start()
    eventually(lambda: plan_version(gateway) == 7)
    eventually(lambda: promotion.unchanged > 2)
    promotion.stop()
    gateway.kill()
    gateway.start()
    assert plan_version(gateway) == 7
    assert version_of(gateway) == OLD


BAD_PLANS: dict[str, Any] = {
    "cannot be read": b"<html>",
    "missing required field `workloads`": b'{"plan_version":9}',
    "Expected `int`, got `str`": b'{"plan_version":"9","workloads":{}}',
    "shares of tone": b'{"plan_version":9,"workloads":{"tone":{"routes":[],"upstreams":["http://a:1"]}}}',
    "older than 7": b'{"plan_version":6,"workloads":{}}',
    "should be 0-1 and sum to 1": (OLD, 0.5),
    "a version of triage": ("triage@1111111111111111", 1.0),
    "is not a version": ("plain", 1.0),
}


def test_a_bad_plan_never_replaces_a_good_one(
    gateway: GatewayProcess, promotion: Promotion, replicas: list[Replica]
) -> None:
    promotion.publish(7, {OLD: 1.0}, [r.url for r in replicas])
    gateway.start()
    eventually(lambda: plan_version(gateway) == 7)
    for reason, plan in BAD_PLANS.items():
        if isinstance(plan, bytes):
            promotion.body = plan
        else:
            promotion.publish(9, dict([plan]), [r.url for r in replicas])
        eventually(lambda reason=reason: reason in gateway.log())  # type: ignore[misc]
        assert plan_version(gateway) == 7
    assert version_of(gateway) == OLD
    promotion.publish(8, {OLD: 1.0}, [r.url for r in replicas])
    eventually(lambda: plan_version(gateway) == 8)


def test_a_damaged_kept_plan_is_passed_over_at_start(gateway: GatewayProcess, replicas: list[Replica]) -> None:
    kept = gateway.folder / "data" / "gateway" / "plan.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b'{"plan_version":7,"work')
    gateway.start()
    assert plan_version(gateway) == 0
    assert "cannot be used" in gateway.log()


def test_a_conversation_keeps_its_version_while_shares_stand(
    gateway: GatewayProcess, promotion: Promotion, replicas: list[Replica]
) -> None:
    for replica in replicas:
        replica.loaded.add(NEW)
    promotion.publish(1, {OLD: 0.5, NEW: 0.5}, [r.url for r in replicas])
    gateway.start()
    eventually(lambda: plan_version(gateway) == 1)
    first = {c: version_of(gateway, metadata={"conversation": c}) for c in map(str, range(20))}
    assert set(first.values()) == {OLD, NEW}
    gateway.kill()
    gateway.start()
    assert first == {c: version_of(gateway, metadata={"conversation": c}) for c in first}
    assert {version_of(gateway) for _ in range(30)} == {OLD, NEW}


def test_promotion_away_is_a_warning_only_when_it_can_no_longer_be_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(plan_client.time, "monotonic", lambda: now)
    promotion = Upstream.__new__(Upstream)  # never asked here
    nothing = Deployment.model_construct(models={}, workloads={})
    client = PlanClient(nothing, lambda _: [], tmp_path / "plan.json", promotion, 1.0)
    caplog.set_level(logging.INFO, "services.gateway.plan_client")
    for seconds, error in ((0, Unavailable("away")), (1, Unavailable("away")), (2, Unusable("nonsense"))):
        now = 100.0 + seconds
        client._warn(error)
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]
    caplog.clear()
    for seconds in (31, 32, 33):
        now = 100.0 + seconds
        client._warn(Unavailable("away"))
    assert [r.levelname for r in caplog.records] == ["WARNING"]
