"""`ratchet up` before model servers of the test's choice, versions to promote in it, and clients that never stop."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from shared import topics
from shared.bus import Outgoing, open_bus
from shared.events import CandidateTrained, encode
from tests.contracts.model_server_contract import Server
from tests.loop.deployment import Deployment, until
from tests.real.vllm.runs import WORKLOAD, conversation

SERVED_AS = {"[models.tiny]": "[models.base]", 'base = "tiny"': 'base = "base"'}


class WithoutModelServer(Deployment):
    def is_ready(self, service: str) -> bool:
        return service == "model_server" or super().is_ready(service)


@contextmanager
def ratchet_up(folder: Path, upstreams: Sequence[str], **more: str) -> Iterator[Deployment]:
    """The model server of its own, if it starts one, is not waited for."""
    running = WithoutModelServer(folder, SERVED_AS, {"RATCHET_UPSTREAM_URLS": ",".join(upstreams), **more})
    try:
        running.up()
        yield running
    finally:
        running.down()


def register(running: Deployment, events: Sequence[CandidateTrained]) -> None:
    """As the scheduler announces them. Without a holdout none can be judged: each ends INCONCLUSIVE."""
    bus = open_bus(running.settings.bus)
    bus.publish([Outgoing(topics.JOBS, WORKLOAD, encode(event, "scheduler")) for event in events])
    bus.close()
    versions = {event.version for event in events}

    def judged() -> bool:
        return versions <= {model["version"] for model in running.models() if model["stage"] == "INCONCLUSIVE"}

    until(judged, "every candidate is judged")


def promote(running: Deployment, version: str) -> httpx.Response:
    url = running.settings.url_of("promotion")
    body = {"who": "mara", "why": "a test of the hot swap", "override": True}
    return running.http.post(f"{url}/v1/models/{version}/promote", json=body)


def roll_back(running: Deployment, **fields: Any) -> httpx.Response:
    url = running.settings.url_of("promotion")
    return running.http.post(f"{url}/v1/workloads/{WORKLOAD}/rollback", json={"who": "mara", "why": "a test"} | fields)


def serving(running: Deployment, version: str) -> bool:
    """Whether the gateway answers by this version alone."""
    found = running.get("gateway", "/v1/status")["workloads"][WORKLOAD]
    return (found["version"], found["share"]) == (version, 1.0)


def adapters_of(running: Deployment, url: str) -> set[str]:
    """What promotion last saw on a replica."""
    replicas = {replica["url"]: replica for replica in running.get("promotion", "/v1/status")["replicas"]}
    return set(replicas[url]["adapters"])


def held(server: Server) -> set[str]:
    """The adapters that the server itself says it has."""
    cards = httpx.get(f"{server.url}/v1/models", timeout=30).json()["data"]
    return {card["id"] for card in cards if card["parent"]}


@dataclass
class Clients:
    """Applications that ask the gateway without a pause, every third time for a stream. All they got is kept."""

    url: str
    count: int
    answers: list[tuple[str, int, str]] = field(default_factory=list)  # version, the ticket's seed, text
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator["Clients"]:
        threads = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def by_version(self) -> Counter[str]:
        return Counter(version for version, _, _ in self.answers)

    def _ask_on(self, number: int) -> None:
        with httpx.Client(base_url=self.url, timeout=120) as client:
            for turn in itertools.count():
                if self._stop.is_set():
                    return
                seed = (number * 5 + turn) % 12
                body = {"model": WORKLOAD, "messages": conversation(seed), "temperature": 0, "max_tokens": 80}
                try:
                    self.answers.append(_asked(client, body | {"stream": turn % 3 == 2}, seed))
                except (AssertionError, httpx.HTTPError) as error:
                    self.failures.append(f"{time.strftime('%X')} {error!r}")
                    self._stop.wait(0.2)


def _asked(client: httpx.Client, body: dict[str, Any], seed: int) -> tuple[str, int, str]:
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:300]}"
    version = answer.headers["x-ratchet-version"]
    if not body["stream"]:
        return version, seed, answer.json()["choices"][0]["message"]["content"]
    assert answer.text.endswith("data: [DONE]\n\n"), f"a stream broke off: {answer.text[-300:]}"
    assert '"error"' not in answer.text, answer.text[-300:]
    return version, seed, ""
