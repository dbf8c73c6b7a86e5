"""kill -9 of each service in the middle of its work, then of everything: the loop goes on where it was.

One deployment, one story, in order; each act waits for the work to be under way before it kills. It is told on the
embedded parts (test_kills.py) and on Kafka and PostgreSQL (tests/real/loop).
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx

from services.cli.demo.scenario import WORKLOAD
from shared import topics
from tests.loop.deployment import Deployment, until
from training.tiny.house import Ticket, ticket

TRAIN, HOLDOUT = 30, 20
SMALLER = {
    "min_new_examples = 200": f"min_new_examples = {TRAIN}",
    "min_groups = 60": f"min_groups = {HOLDOUT}",
    "holdout_share = 0.3": "holdout_share = 0.4",
}


LEASES = {"RATCHET_SCHEDULER_LEASE_SECONDS": "4", "RATCHET_SCHEDULER_HEARTBEAT_SECONDS": "1"}


class Traffic:
    """Eight clients that ask until told otherwise; what each got with status 200 is kept."""

    def __init__(self, loop: Deployment, first_seed: int) -> None:
        self.acked: dict[str, Ticket] = {}
        self.failed = 0
        self._loop, self._seeds = loop, count(first_seed)
        self._ended = threading.Event()

    def __enter__(self) -> "Traffic":
        self._pool = ThreadPoolExecutor(8)
        self._clients = [self._pool.submit(self._ask_on) for _ in range(8)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.result(60)
        self._pool.shutdown()

    def _ask_on(self) -> None:
        with httpx.Client(base_url=self._loop.settings.url_of("gateway"), timeout=30) as client:
            while not self._ended.is_set():
                self._ask(client, ticket(next(self._seeds)))

    def _ask(self, client: httpx.Client, asked: Ticket) -> None:
        body = {"model": WORKLOAD, "messages": [{"role": "user", "content": asked.text}], "max_tokens": 60}
        try:
            response = client.post("/v1/chat/completions", json=body)
        except httpx.HTTPError:
            self.failed += 1
            self._ended.wait(0.1)
            return
        if response.status_code == 200:
            self.acked[response.headers["x-ratchet-answer-id"]] = asked
        else:
            self.failed += 1
            self._ended.wait(0.1)


def survives_kill_9_of_every_part(loop: Deployment) -> None:
    truths = answers_survive(loop)
    corrections_survive(loop, truths)
    version = the_training_survives(loop)
    the_verdict_survives(loop, version)
    everything_survives(loop, version)


def answers_survive(loop: Deployment) -> dict[str, Ticket]:
    """Gateway, model server and annotation die under load; every answer a client got is stored, once."""
    with Traffic(loop, 0) as traffic:
        for service in ("gateway", "model_server", "annotation"):
            so_far = len(traffic.acked)
            until(lambda n=so_far: len(traffic.acked) >= n + 12, "answers come")
            loop.kill(service)
        so_far = len(traffic.acked)
        until(lambda: len(traffic.acked) >= max(so_far + 12, 75), "answers come again")
    until(lambda: loop.store()["samples"] >= len(traffic.acked), "answers are stored")
    for answer_id in traffic.acked:
        assert loop.get("annotation", f"/v1/samples/{answer_id}")["answer_id"] == answer_id
    published = [e["data"]["answer_id"] for e in loop.events(topics.ANSWERS)]
    assert set(traffic.acked) <= set(published)
    assert loop.store()["samples"] == len(set(published))
    return {t.text: t for t in traffic.acked.values()}


def corrections_survive(loop: Deployment, truths: dict[str, Ticket]) -> None:
    """Annotation dies between corrections; each one the desk acknowledged exists once, though the expert repeats."""
    url = loop.settings.url_of("annotation")
    acked: list[str] = []
    killed = False
    while (store := loop.store())["train"] < TRAIN or store["holdout_groups"] < HOLDOUT:
        item = until(lambda: _next_item(loop), "an item waits")
        known = truths.get(item["messages"][-1]["content"])
        ideal = (
            known.answer
            if known
            else '{"queue": "power", "severity": 1, "customer": "A B", "asset": "a-100", "action": "call"}'
        )
        verdict = {"annotator": "test", "verdict": "fix", "ideal": ideal, "reasons": ["format"]}
        path = f"{url}/v1/desk/items/{item['sample_id']}/verdict"
        if len(acked) == 10 and not killed:
            killed = True
            loop.kill("annotation")
        first, again = loop.http.post(path, json=verdict), loop.http.post(path, json=verdict)
        assert (first.status_code, again.status_code) == (201, 200), first.text
        assert first.json()["correction_id"] == again.json()["correction_id"]
        acked.append(first.json()["correction_id"])
    assert killed
    assert loop.store()["corrected"] == len(set(acked)) == len(acked)


def _next_item(loop: Deployment) -> Any:
    return loop.get("annotation", f"/v1/desk/next?workload={WORKLOAD}&annotator=test")["item"]


def the_training_survives(loop: Deployment) -> str:
    """The scheduler dies while its training runs; the training is finished, one candidate comes of it."""
    job_id = until(lambda: loop.jobs("train"), "a training starts by itself")[0]["job_id"]
    path = f"/v1/jobs/{job_id}"
    until(lambda: (loop.get("scheduler", path)["progress"] or {}).get("step"), "the training makes steps", 120)
    loop.kill("scheduler")
    job = until(lambda: _ended(loop.get("scheduler", path)), "the training ends", 240)
    assert job["state"] == "done", job
    until(lambda: [m for m in loop.models() if m["preset"]], "the candidate is registered")
    trained = [e["data"]["version"] for e in loop.events(topics.JOBS) if e["type"] == "ratchet.candidate.trained.v1"]
    assert set(trained) == {job["result"]["version"]}
    return str(job["result"]["version"])


def _ended(job: dict[str, object]) -> dict[str, object] | None:
    return job if job["state"] in ("done", "failed") else None


def the_verdict_survives(loop: Deployment, version: str) -> None:
    """Promotion dies while the candidate is measured; there is one verdict, and the report of it."""
    until(lambda: [j for j in loop.jobs("evaluate") if j["state"] == "running"], "the evaluation runs", 120)
    loop.kill("promotion")
    model = until(lambda: _judged(loop, version), "a verdict", 240)
    judged = [e["data"] for e in loop.events(topics.PROMOTION) if e["type"] == "ratchet.candidate.judged.v1"]
    assert {(j["version"], j["verdict"]) for j in judged} == {(version, model["verdict"])}
    assert loop.get("promotion", f"/v1/reports/{version}.json")["verdict"] == model["verdict"]
    assert sum(m["stage"] == "CHAMPION" for m in loop.models()) == 1


def _judged(loop: Deployment, version: str) -> dict[str, object] | None:
    model = loop.get("promotion", f"/v1/models/{version}")
    return model if model["verdict"] else None


def everything_survives(loop: Deployment, version: str) -> None:
    """The supervisor and all services die under traffic and in a training; `ratchet up` goes on with the same state."""
    before, champion = loop.store(), loop.get("promotion", "/v1/status")["workloads"][WORKLOAD]["champion"]
    order = {"kind": "train", "workload": WORKLOAD, "preset": "careless", "why": "to be killed", "who": "test"}
    path = f"/v1/jobs/{loop.post('scheduler', '/v1/jobs', order)['job_id']}"
    with Traffic(loop, 10_000) as traffic:
        until(lambda: (loop.get("scheduler", path)["progress"] or {}).get("step"), "the training makes steps", 120)
        until(lambda: len(traffic.acked) >= 8, "answers come")
        loop.kill_all()
        so_far = len(traffic.acked)
        loop.up()
        until(lambda: len(traffic.acked) >= so_far + 8, "answers come again")
    until(lambda: loop.store()["samples"] >= before["samples"] + len(traffic.acked), "answers are stored")
    for answer_id in traffic.acked:
        assert loop.get("annotation", f"/v1/samples/{answer_id}")["answer_id"] == answer_id
    after, same = loop.store(), ("corrected", "train", "holdout", "knowledge")
    assert {k: after[k] for k in same} == {k: before[k] for k in same}
    assert loop.get("promotion", "/v1/status")["workloads"][WORKLOAD]["champion"] == champion
    assert loop.get("promotion", f"/v1/models/{version}")["verdict"]
    job = until(lambda: _ended(loop.get("scheduler", path)), "the training that was killed ends", 240)
    assert job["state"] == "done", job
    assert len(loop.jobs("train")) == 2
