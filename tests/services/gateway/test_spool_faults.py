"""The record comes first: what happens when it cannot be kept, and when the gateway dies."""

import asyncio
import http.client
import json
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from shared.events import AnswerServed
from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually
from tests.services.gateway.scripted import Asked, ScriptedServer, stream_events

LONG = {**HELLO, "messages": [{"role": "user", "content": "long " * 2000}]}  # 10 kB


def test_a_full_spool_refuses_before_the_model_server_is_asked_and_recovers(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer, tmp_path: Path
) -> None:
    bus_in_the_way = tmp_path / "elsewhere" / "bus.db"
    bus_in_the_way.mkdir(parents=True)
    gateway = own_gateway(
        upstream.url, RATCHET_GATEWAY_SPOOL_MAX_BYTES="100000", RATCHET_BUS_URL=f"sqlite:///{bus_in_the_way}"
    ).start()
    answered = []
    while (answer := gateway.ask(LONG)).status_code == 200:
        answered.append(answer.headers["x-ratchet-answer-id"])
        assert len(answered) < 20
    assert len(answered) >= 5
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "spool_full")
    assert answer.headers["retry-after"] == "2"
    asked = len(upstream.asked)
    assert gateway.ask({**LONG, "stream": True}).status_code == 503
    feedback = gateway.client.post("/v1/feedback", json={"answer_id": answered[0], "thumb": "up"})
    assert (feedback.status_code, feedback.json()["error"]["code"]) == (503, "spool_full")
    assert len(upstream.asked) == asked
    assert gateway.client.get("/readyz").status_code == 503
    assert gateway.client.get("/v1/status").json()["spool_records"] == len(answered)

    bus_in_the_way.rmdir()
    eventually(lambda: gateway.ask(LONG).status_code == 200)
    eventually(lambda: gateway.client.get("/v1/status").json()["spool_records"] == 0)
    assert gateway.client.get("/readyz").status_code == 200


def test_a_disk_that_takes_no_more_withholds_the_answer_and_recovers(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    """The disk is real: the kernel refuses this process every write past 300 kB of a file."""
    gateway = own_gateway(upstream.url).start()
    for _ in range(5):
        assert gateway.ask(LONG).status_code == 200
    unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    acknowledged: list[str] = []

    def refused() -> httpx.Response | None:
        answer = gateway.ask(LONG)
        if answer.status_code == 200:
            acknowledged.append(answer.headers["x-ratchet-answer-id"])
            return None
        return answer

    answer = eventually(refused)
    assert answer is not None
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "spool_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert eventually(lambda: gateway.client.get("/readyz").status_code == 503)
    asked = len(upstream.asked)
    assert gateway.ask(LONG).status_code == 503
    assert len(upstream.asked) == asked
    streamed = gateway.ask({**HELLO, "stream": True})
    assert b"[DONE]" not in streamed.content

    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
    eventually(lambda: gateway.client.get("/readyz").status_code == 200)
    eventually(lambda: gateway.ask(LONG).status_code == 200)
    eventually(lambda: gateway.client.get("/v1/status").json()["spool_records"] == 0)
    assert set(acknowledged) <= {event.answer_id for event in gateway.events(AnswerServed)}


def test_a_stop_finishes_the_stream_in_flight_and_ships_it_by_the_next_start(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    gateway = own_gateway(upstream.url).start()
    stopping = threading.Event()

    async def script(asked: Asked) -> None:
        first, *rest = stream_events(["he", "llo"])
        await asked.begin_stream()
        await asked.event(first)
        await asyncio.to_thread(stopping.wait, 10)
        await asked.event(b"".join(rest))
        await asked.send(b"0\r\n\r\n")

    plain, upstream.script = upstream.script, script
    with gateway.client.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        upstream.script = plain
        gateway.terminate()
        eventually(lambda: not gateway.listens())
        stopping.set()
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    assert gateway.ended() == -signal.SIGTERM
    gateway.start()
    assert gateway.answer(answer.headers["x-ratchet-answer-id"]).answer == "hello"
    assert "Traceback" not in gateway.log()


class Load:
    """Clients that never rest; `whole` holds the ids of the answers they got to the last byte."""

    def __init__(self, port: int, clients: int) -> None:
        self.whole: list[str] = []
        self.failed = 0
        self._port, self._stopping = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, stream: bool) -> None:
        body = json.dumps({**HELLO, "stream": stream}).encode()
        while not self._stopping.is_set():
            client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                while not self._stopping.is_set():
                    client.request("POST", "/v1/chat/completions", body)
                    answer = client.getresponse()
                    self._count(answer, answer.read(), stream)
            except (OSError, http.client.HTTPException):
                self.failed += 1
                self._stopping.wait(0.05)
            finally:
                client.close()

    def _count(self, answer: http.client.HTTPResponse, body: bytes, stream: bool) -> None:
        if answer.status == 200 and (not stream or body.endswith(b"data: [DONE]\n\n")):
            self.whole.append(answer.headers["x-ratchet-answer-id"])
        else:
            self.failed += 1


@pytest.mark.slow
def test_twenty_kills_under_load_lose_no_answer_that_a_client_got(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = own_gateway(upstream.url).start()
    load = Load(gateway.port, clients=4)
    try:
        for kill in range(20):
            enough = len(load.whole) + 5 + kill  # another moment of the spool's and the shipper's work each time
            eventually(lambda enough=enough: len(load.whole) >= enough)  # type: ignore[misc]
            gateway.kill()
            gateway.start()
    finally:
        load.stop()
    eventually(lambda: gateway.client.get("/v1/status").json()["spool_records"] == 0)
    shipped = {event.answer_id for event in gateway.events(AnswerServed)}
    with capsys.disabled():
        lost = set(load.whole) - shipped
        print(f"\n20 kills: {len(load.whole)} whole answers, {len(shipped)} in the bus, {len(lost)} lost")
    assert not lost
    assert len(shipped) <= len(load.whole) + load.failed
