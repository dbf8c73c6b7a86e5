"""A real gateway process on free ports and its own data folder, in front of scripted model servers."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from shared.events import AnswerServed, Event, FeedbackGiven, decode
from shared.processes import free_ports
from shared.sqlite_log import SqliteBus
from tests.services.gateway.scripted import ScriptedServer

TOML = """
[models.tiny]
path = "builtin:tiny"

[workloads.support-triage]
base = "tiny"
system_prompt = "You sort tickets."

[workloads.plain]
base = "tiny"
"""
HELLO = {"model": "plain", "messages": [{"role": "user", "content": "hi"}]}
Found = TypeVar("Found")


def eventually(find: Callable[[], Found], seconds: float = 60.0) -> Found:
    """The first truthy result; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {find}"
        time.sleep(0.01)
    return found


class GatewayProcess:
    """`python -m services.gateway` with a bus of its own; started again on the same data by `start`."""

    def __init__(self, folder: Path, upstream_urls: str, **environment: str) -> None:
        self.folder = folder
        self.port, self.promotion_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ratchet.toml").write_text(TOML)
        own = {
            "RATCHET_CONFIG": str(folder / "ratchet.toml"),
            "RATCHET_DATA_DIR": str(folder / "data"),
            "RATCHET_GATEWAY_PORT": str(self.port),
            "RATCHET_PROMOTION_PORT": str(self.promotion_port),
            "RATCHET_UPSTREAM_URLS": upstream_urls,
            "RATCHET_GATEWAY_PLAN_POLL_SECONDS": "0.05",
        }
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
        self._environment = {**inherited, **own, **environment}
        self.client = httpx.Client(base_url=self.url, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, preexec: Callable[[], None] | None = None) -> "GatewayProcess":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"],
            env=self._environment,
            stderr=(self.folder / "log.txt").open("ab"),
            preexec_fn=preexec,
        )
        eventually(self._answers, 120)  # a crowded machine is slow, not broken
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()

    def ended(self) -> int:
        """The exit status, once it has stopped."""
        assert self._process is not None
        return self._process.wait(20)

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def close(self) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def ask(self, body: Any = HELLO, **arguments: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=body, **arguments)

    def events(self, kind: type[Event]) -> list[Any]:
        """What the bus has of one kind of event, each id once."""
        bus = SqliteBus.open(f"sqlite:///{self.folder / 'data' / 'bus.db'}")
        try:
            topic = "ratchet.answers" if kind is AnswerServed else "ratchet.feedback"
            decoded = [decode(record.value) for record in bus.history(topic)]
        finally:
            bus.close()
        return list({envelope.id: event for envelope, event in decoded}.values())

    def answer(self, answer_id: str) -> AnswerServed:
        """The recorded answer, once it has been shipped."""

        def find() -> AnswerServed | None:
            return next((e for e in self.events(AnswerServed) if e.answer_id == answer_id), None)

        found = eventually(find)
        assert found is not None
        return found

    def feedback(self, feedback_id: str) -> FeedbackGiven:
        def find() -> FeedbackGiven | None:
            return next((e for e in self.events(FeedbackGiven) if e.feedback_id == feedback_id), None)

        found = eventually(find)
        assert found is not None
        return found

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def shared_gateway(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        tmp_path_factory.mktemp("gateway"),
        upstream.url,
        RATCHET_GATEWAY_IDLE_TIMEOUT_SECONDS="0.5",
        RATCHET_GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS="1.0",
        RATCHET_GATEWAY_BODY_TIMEOUT_SECONDS="1.0",
        RATCHET_GATEWAY_MAX_ANSWER_BYTES="2000000",
        RATCHET_GATEWAY_MISSING_VERSION_PATIENCE_SECONDS="0.3",
    ).start()
    yield process
    process.close()


@pytest.fixture
def gateway(shared_gateway: GatewayProcess, upstream: ScriptedServer) -> Iterator[GatewayProcess]:
    """The module's gateway, its model server answering plainly again afterwards."""
    plain = upstream.script
    yield shared_gateway
    upstream.script = plain


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Gateways of this test alone: `own_gateway(urls, NAME=value)`, not started."""
    made: list[GatewayProcess] = []

    def make(upstream_urls: str, **environment: str) -> GatewayProcess:
        made.append(GatewayProcess(tmp_path / f"gateway-{len(made)}", upstream_urls, **environment))
        return made[-1]

    yield make
    for process in made:
        process.close()
