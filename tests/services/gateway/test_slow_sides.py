"""Clients and model servers that are slow or too generous: nobody's memory fills, and the others go on."""

import asyncio
import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from shared.events import AnswerServed
from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually
from tests.services.gateway.scripted import Asked, ScriptedServer, chunk, completion

MIB = 1 << 20
STREAM = json.dumps({**HELLO, "stream": True}).encode()


def request(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def memory_bytes(gateway: GatewayProcess) -> int:
    """Resident now, at its highest since `forget_peak`."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


def forget_peak(gateway: GatewayProcess) -> int:
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")
    return memory_bytes(gateway)


def sockets(gateway: GatewayProcess) -> int:
    return sum("socket:" in str(fd.readlink()) for fd in Path(f"/proc/{gateway.pid}/fd").iterdir())


class Flood:
    """A stream of 28 MiB whose text is short, so that it fits its record; `sent` says how far it got."""

    def __init__(self) -> None:
        self.sent = 0
        self.broke_off = False

    async def __call__(self, asked: Asked) -> None:
        try:
            await self._pour(asked)
        except OSError:
            self.broke_off = True
            raise

    async def _pour(self, asked: Asked) -> None:
        asked.writer.transport.set_write_buffer_limits(65536)
        event = chunk({"content": "x"}, pad="p" * 100_000)
        await asked.begin_stream()
        for _ in range(280):
            await asked.event(event)
            self.sent += len(event)
        await asked.event(chunk({}, "stop") + b"data: [DONE]\n\n")
        await asked.send(b"0\r\n\r\n")


@pytest.fixture(autouse=True)
def answers_plainly_again(upstream: ScriptedServer) -> Iterator[None]:
    plain = upstream.script
    yield
    upstream.script = plain


@pytest.fixture
def patient(own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer) -> GatewayProcess:
    """A gateway with the limits as they come."""
    return own_gateway(upstream.url).start()


def unread(gateway: GatewayProcess) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(20)
    client.connect(("127.0.0.1", gateway.port))
    return client


def stands_still(flood: Flood) -> Callable[[], bool]:
    looks: list[int] = []

    def look() -> bool:
        looks.append(flood.sent)
        return len(looks) > 50 and looks[-50] == flood.sent > 0

    return look


def test_a_client_that_reads_slowly_slows_its_model_server_and_gets_everything(
    patient: GatewayProcess, upstream: ScriptedServer
) -> None:
    flood = Flood()
    upstream.script = flood
    with unread(patient) as client:
        client.sendall(request(STREAM))
        eventually(stands_still(flood))
        assert flood.sent < 20 * MIB, "the gateway took it all in"
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += client.recv(MIB)
    assert got.count(b'"content":"x"') == 280
    assert b"data: [DONE]" in got


def test_a_client_that_reads_nothing_is_given_up_and_leaves_nothing_behind(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    gateway = own_gateway(upstream.url, RATCHET_GATEWAY_TOTAL_TIMEOUT_SECONDS="1").start()
    gateway.ask()
    plain, open_before, flood = upstream.script, sockets(gateway), Flood()
    upstream.script = flood
    with unread(gateway) as client:
        client.sendall(request(STREAM))
        eventually(lambda: flood.broke_off)
        recorded = eventually(lambda: [e for e in gateway.events(AnswerServed) if e.client_abort])
        assert set(recorded[0].answer) == {"x"}
        eventually(lambda: sockets(gateway) <= open_before)
    upstream.script = plain
    assert gateway.ask().status_code == 200
    assert "Traceback" not in gateway.log()


def test_a_model_server_that_never_ends_is_504_by_the_total_time(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    async def trickles(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            await asked.send(b" ")
            await asyncio.sleep(0.05)

    gateway = own_gateway(upstream.url, RATCHET_GATEWAY_TOTAL_TIMEOUT_SECONDS="1").start()
    plain, gone, upstream.script = upstream.script, upstream.gone, trickles
    answer = gateway.ask()
    upstream.script = plain
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert "no complete answer within 1 s" in answer.json()["error"]["message"]
    eventually(lambda: upstream.gone == gone + 1)


def test_a_model_server_that_does_not_accept_is_503_by_the_connect_time(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    with ExitStack() as opened:
        full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # its line is full: the kernel answers no further connection
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        gateway = own_gateway(
            f"http://127.0.0.1:{full.getsockname()[1]}", RATCHET_GATEWAY_CONNECT_TIMEOUT_SECONDS="0.3"
        ).start()
        answer = gateway.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_unavailable")
    assert "did not accept within 0.3 s" in answer.json()["error"]["message"]


def test_what_a_model_server_may_have_begun_is_asked_once(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    plain = upstream.script

    async def dies_on_it(asked: Asked) -> None:
        if len(asked_before) % 2:
            await asked.send(b"HTTP/1.1 2")
        asked.writer.transport.abort()

    asked_before: list[int] = []
    for _ in range(4):
        upstream.script = plain
        gateway.ask()  # leaves a kept connection behind
        upstream.script = dies_on_it
        gateway.ask()  # may use it, and be asked again on a new one
        asked_before.append(len(upstream.asked))
        assert gateway.ask().status_code == 502
        assert len(upstream.asked) == asked_before[-1] + 1


def test_an_answer_of_100_megabytes_is_502_and_takes_little_memory(
    patient: GatewayProcess, upstream: ScriptedServer
) -> None:
    body = json.dumps(completion("x" * 100_000_000)).encode()

    async def script(asked: Asked) -> None:
        if asked.json["messages"][0]["content"] == "much":
            await asked.answer(200, body)
        else:
            await asked.complete()

    patient.ask()
    upstream.script = script
    before = forget_peak(patient)
    answer = patient.ask({**HELLO, "messages": [{"role": "user", "content": "much"}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_upstream_answer")
    assert "larger than" in answer.json()["error"]["message"]
    assert memory_bytes(patient) - before < 50 * MIB
    assert patient.ask().status_code == 200


def test_a_body_of_64_megabytes_in_chunks_takes_little_memory(patient: GatewayProcess) -> None:
    patient.ask()
    before = forget_peak(patient)
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with unread(patient) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 64 * MIB:
                client.sendall(piece)
                sent += 65536
            client.sendall(b"0\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 413"
        except OSError:
            assert sent < 16 * MIB, "it was read far beyond the limit"
    assert memory_bytes(patient) - before < 30 * MIB
    assert patient.ask().status_code == 200


def test_ten_thousand_messages_are_answered_and_recorded(patient: GatewayProcess) -> None:
    messages = [{"role": "user", "content": f"m{n}"} for n in range(10_000)]
    answer = patient.ask({**HELLO, "messages": messages})
    assert answer.status_code == 200
    assert patient.answer(answer.headers["x-ratchet-answer-id"]).messages == messages


def test_others_are_answered_beside_three_hundred_that_never_finish_their_requests(patient: GatewayProcess) -> None:
    before = forget_peak(patient)
    with ExitStack() as opened:
        for n in range(300):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", patient.port)))
            client.sendall(request(STREAM)[: 20 if n % 2 else -1])
        assert all(patient.ask().status_code == 200 for _ in range(20))
    assert memory_bytes(patient) - before < 30 * MIB


def test_many_large_bodies_that_do_not_end_are_429_and_small_requests_go_on(patient: GatewayProcess) -> None:
    patient.ask()
    before = forget_peak(patient)
    body = b"x" * 1_900_000
    with ExitStack() as opened:
        clients = [opened.enter_context(unread(patient)) for _ in range(100)]
        for client in clients:
            with suppress(OSError):  # refused while it still sends
                client.sendall(request(body)[:-1])
        answered = set(select.select(clients, [], [], 20)[0])
        assert patient.ask().status_code == 200
        refused = [client.recv(12) for client in answered]
    assert set(refused) == {b"HTTP/1.1 429"}
    assert memory_bytes(patient) - before < 130 * MIB  # 190 MB were sent
    eventually(lambda: patient.ask({**HELLO, "pad": "p" * 1_900_000}).status_code == 200)
