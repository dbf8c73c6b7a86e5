"""Promotion as a whole: its real app and threads, the embedded bus, its neighbours over HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from services.promotion.app import build
from services.promotion.candidacy import Post
from services.promotion.settings import PromotionSettings
from shared.bus import Bus, Outgoing, open_bus
from shared.errors import Unavailable
from shared.events import TOPIC_OF, Event, encode, key_of
from shared.settings import SharedSettings
from tests.databases import make_tables
from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import WORKLOAD, Annotation, Scheduler, seal_run, write_config


class Neighbour:
    """One POST of a neighbour over real HTTP; `after` runs once the answer was computed."""

    def __init__(self, double: Post, after: Callable[[], None] = lambda: None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, answer = 200, double.post(self.path, body)
                    after()
                except Unavailable as error:
                    status, answer = 503, {"detail": str(error)}
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Whole:
    """Promotion among its neighbours; the scheduler's double runs every order at once."""

    def __init__(self, folder: Path, servers: list[ModelServerDouble]) -> None:
        config = write_config(folder)
        data = folder / "data"
        self.artifacts = data / "artifacts"
        self.scheduler = Scheduler(self.artifacts)
        self.annotation = Annotation(self.artifacts)
        self.neighbours = [
            Neighbour(self.annotation),
            Neighbour(self.scheduler, lambda: self.tell(self.scheduler.evaluate())),
        ]
        self.shared = SharedSettings(
            config=config,
            data_dir=data,
            upstream_urls=",".join(server.url for server in servers),
            annotation_url=self.neighbours[0].url,
            scheduler_url=self.neighbours[1].url,
        )
        self.own = PromotionSettings(reconcile_seconds=0.1, work_seconds=0.05, replica_timeout_seconds=1.0)
        make_tables(self.shared.database)
        self.bus: Bus = open_bus(self.shared.bus)
        self.bus.ensure_topics()
        self.crashes: list[BaseException] = []

    def tell(self, event: Event) -> None:
        self.bus.publish([Outgoing(TOPIC_OF[type(event)], key_of(event), encode(event, "scheduler"))])

    @contextmanager
    def running(self) -> Iterator[TestClient]:
        with TestClient(build(self.shared, self.own, self.crashes.append)) as client:
            yield client

    def close(self) -> None:
        self.bus.close()
        for neighbour in self.neighbours:
            neighbour.stop()


@pytest.fixture
def whole(tmp_path: Path, servers: list[ModelServerDouble]) -> Iterator[Whole]:
    made = Whole(tmp_path, servers)
    yield made
    made.close()
    assert made.crashes == []


def until(holds: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


def serves(client: TestClient) -> str:
    return cast("str", client.get("/v1/plan").json()["workloads"][WORKLOAD]["routes"][0]["version"])


def test_a_trained_candidate_comes_to_serve_and_a_restarted_replica_gets_it_back(
    whole: Whole, servers: list[ModelServerDouble]
) -> None:
    event = seal_run(whole.artifacts, "job-1")
    whole.scheduler.scores[event.version] = (36, 198)
    with whole.running() as client:
        before = client.get("/v1/plan")
        assert before.json()["plan_version"] == 1
        assert before.json()["workloads"][WORKLOAD]["upstreams"] == [server.url for server in servers]
        assert client.get("/v1/plan", headers={"If-None-Match": before.headers["ETag"]}).status_code == 304
        whole.tell(event)
        until(lambda: serves(client) == event.version)
        assert client.get("/v1/plan", headers={"If-None-Match": before.headers["ETag"]}).status_code == 200
        servers[0].restart()
        until(lambda: event.version in servers[0].adapters)
        until(lambda: all(r["adapters"] == [event.version] for r in client.get("/v1/status").json()["replicas"]))
        assert client.get("/readyz").status_code == 200
        page = client.get(f"/v1/reports/{event.version}")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert client.get(f"/v1/reports/{event.version}.json").json()["verdict"] == "PROMOTE"
        assert "ratchet_promotion_verdicts_total" in client.get("/metrics").text
    published = [record.topic for record in _all(whole.bus)]
    assert published.count("ratchet.promotion") == 8


def _all(bus: Bus) -> list[Any]:
    consumer = bus.consumer("a test", ["ratchet.promotion"])
    try:
        return consumer.poll(100, 5.0)
    finally:
        consumer.close()


def test_a_restarted_promotion_goes_on_where_it_was(whole: Whole) -> None:
    event = seal_run(whole.artifacts, "job-1")
    whole.scheduler.scores[event.version] = (36, 198)
    whole.scheduler.away = True
    with whole.running() as client:
        whole.tell(event)
        waiting = until(lambda: [w for w in client.get("/v1/status").json()["waiting"] if w["error"]])
        assert "the scheduler is away" in waiting[0]["error"]
        assert client.get(f"/v1/models/{event.version}").json()["stage"] == "CANDIDATE"
    whole.scheduler.away = False
    with whole.running() as client:
        until(lambda: serves(client) == event.version)


def test_people_promote_roll_back_and_read_the_audit_over_http(whole: Whole) -> None:
    event = seal_run(whole.artifacts, "job-1")
    with whole.running() as client:
        base = serves(client)
        whole.tell(event)
        path = f"/v1/models/{event.version}"
        until(lambda: client.get(path).status_code == 200 and client.get(path).json()["stage"] == "REJECTED")
        refused = client.post(f"{path}/promote", json={"who": "mara", "why": "please"})
        assert refused.status_code == 422
        assert "override" in refused.json()["detail"]
        promoted = client.post(f"{path}/promote", json={"who": "mara", "why": "known better", "override": True})
        assert promoted.json()["stage"] == "CHAMPION"
        assert serves(client) == event.version
        back = client.post(f"/v1/workloads/{WORKLOAD}/rollback", json={"who": "mara", "why": "worse", "to": None})
        assert back.json()["version"] == base
        assert serves(client) == base
        audit = client.get("/v1/audit", params={"workload": WORKLOAD}).json()
        assert audit["broken"] is None
        assert [e["after"] for e in audit["edges"] if e["who"] == "mara"] == [
            "RETIRED",
            "CHAMPION",
            "RETIRED",
            "CHAMPION",
        ]
        status = client.get("/v1/status").json()["workloads"][WORKLOAD]
        assert status["champion"] == base
        assert status["last_verdict"]["verdict"] == "REJECT"
        models = client.get("/v1/models", params={"workload": WORKLOAD}).json()["models"]
        assert [m["version"] for m in models] == [event.version, base]


def test_what_is_unknown_or_misshapen_is_answered_in_words(whole: Whole) -> None:
    with whole.running() as client:
        ask = client.post
        assert client.get("/v1/models/triage@0000000000000000").status_code == 404
        assert client.get("/v1/reports/triage@0000000000000000.json").status_code == 404
        assert client.get(f"/v1/reports/{serves(client)}").status_code == 404
        assert ask("/v1/workloads/none/rollback", json={"who": "m", "why": "w"}).status_code == 404
        assert ask(f"/v1/workloads/{WORKLOAD}/rollback", json={"who": "m", "why": "w"}).status_code == 422
        bodies: list[Any] = [{}, {"who": ""}, {"who": "m", "why": 7}, {"who": "m", "override": "perhaps"}, [], "text"]
        for body in bodies:
            answer = ask("/v1/models/triage@0000000000000000/promote", json=body)
            assert answer.status_code == 422
            assert isinstance(answer.json()["detail"], str)
        broken = ask("/v1/models/x/promote", content=b"{", headers={"content-type": "application/json"})
        assert broken.status_code == 422


def test_text_that_cannot_be_stored_is_refused_in_words(whole: Whole) -> None:
    with whole.running() as client:
        for text, why in (("a\ud800", "half a surrogate pair"), ("a\0", "a NUL character")):
            for path, field in (
                (f"/v1/workloads/{WORKLOAD}/rollback", "to"),
                (f"/v1/workloads/{WORKLOAD}/rollback", "leaving"),
                (f"/v1/workloads/{WORKLOAD}/rollback", "who"),
                (f"/v1/workloads/{WORKLOAD}/rollback", "why"),
                ("/v1/models/triage@0000000000000000/promote", "who"),
                ("/v1/models/triage@0000000000000000/promote", "why"),
            ):
                body = json.dumps({"who": "mara", "why": "worse", field: text})
                answer = client.post(path, content=body, headers={"content-type": "application/json"})
                assert answer.status_code == 422
                assert why in answer.json()["detail"]
        for address in ("/v1/models?workload=%00", "/v1/models/%00", "/v1/reports/%00", "/v1/audit?workload=%00"):
            assert "a NUL character" in client.get(address).json()["detail"]


def test_two_promotions_on_one_database_bring_one_candidate_in_once(whole: Whole) -> None:
    event = seal_run(whole.artifacts, "job-1")
    whole.scheduler.scores[event.version] = (36, 198)
    with whole.running() as first, whole.running() as second:
        whole.tell(event)
        until(lambda: serves(first) == serves(second) == event.version)
        edges = [e["after"] for e in first.get("/v1/audit").json()["edges"] if e["version"] == event.version]
        assert edges == ["CANDIDATE", "EVALUATING", "CHAMPION"]
        assert first.get("/v1/plan").json()["plan_version"] == 2
