"""HTTP's own rules, on bare sockets: what a client library would smooth over."""

import asyncio
import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.events import AnswerServed
from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually
from tests.services.gateway.scripted import Asked, ScriptedServer, completion, stream_events

BODY = json.dumps(HELLO).encode()


@contextmanager
def connected(gateway: GatewayProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        yield client


def request(body: bytes = BODY, *headers: str, method: str = "POST") -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"content-length: {len(body)}", *headers))
    return f"{method} /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode() + body


def one_answer(client: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of the next answer, which has a length; nothing of what follows it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = b""
    while len(body) < length and (data := client.recv(length - len(body))):
        body += data
    return head, body


def until_closed(client: socket.socket) -> bytes:
    got = b""
    while data := client.recv(65536):
        got += data
    return got


def test_headers_of_one_hop_end_at_it_in_both_directions(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    async def script(asked: Asked) -> None:
        extra = (
            "connection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-request-id: r\r\ntrailer: x\r\n"
        )
        await asked.answer(200, json.dumps(completion("a")).encode(), extra=extra)

    upstream.script = script
    with connected(gateway) as client:
        client.sendall(request(BODY, "connection: traceparent, keep-alive", "traceparent: t", "x-request-id: mine"))
        head, _ = one_answer(client)
    assert b"x-hop" not in head
    assert b"keep-alive" not in head
    assert b"trailer" not in head
    assert b"x-request-id: r\r\n" in head
    assert b"x-request-id: mine\r\n" in upstream.asked[-1].head
    assert b"traceparent" not in upstream.asked[-1].head


def test_a_body_that_waits_for_100_continue_is_asked_for_and_answered(gateway: GatewayProcess) -> None:
    whole = request(BODY, "expect: 100-continue")
    with connected(gateway) as client:
        client.sendall(whole[: -len(BODY)])
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        assert one_answer(client)[0].startswith(b"HTTP/1.1 200")


def test_a_body_that_is_refused_is_not_asked_for(gateway: GatewayProcess) -> None:
    with connected(gateway) as client:
        client.sendall(request(b"", "expect: 100-continue").replace(b"length: 0", b"length: 9000000"))
        assert until_closed(client).startswith(b"HTTP/1.1 413")


def test_head_is_refused_without_a_body_and_the_connection_goes_on(gateway: GatewayProcess) -> None:
    with connected(gateway) as client:
        client.sendall(request(b"", method="HEAD") + request())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 405")
        assert b"allow: POST\r\n" in head
        assert one_answer(client)[0].startswith(b"HTTP/1.1 200"), "a body stood between the two"


def test_pipelined_requests_are_answered_in_their_order(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    async def script(asked: Asked) -> None:
        text = asked.json["messages"][0]["content"]
        await asyncio.sleep(0.1 if text == "0" else 0)  # the first is the slowest
        await asked.complete(text)

    upstream.script = script
    bodies = [json.dumps({**HELLO, "messages": [{"role": "user", "content": str(n)}]}).encode() for n in range(20)]
    with connected(gateway) as client:
        client.sendall(b"".join(map(request, bodies)))
        answers = [json.loads(one_answer(client)[1])["choices"][0]["message"]["content"] for _ in bodies]
    assert answers == [str(n) for n in range(20)]


def test_rubbish_behind_a_request_is_not_taken_for_its_answer(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    async def script(asked: Asked) -> None:
        await asyncio.sleep(30)

    upstream.script = script
    gone, asked = upstream.gone, len(upstream.asked)
    with connected(gateway) as client:
        client.sendall(request())
        eventually(lambda: len(upstream.asked) == asked + 1)
        client.sendall(b"\x00\x01 rubbish\r\n\r\n")
        assert until_closed(client) == b""
    eventually(lambda: upstream.gone == gone + 1)


def test_a_client_that_leaves_with_another_request_in_line_stops_the_model_server(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    async def script(asked: Asked) -> None:
        await asyncio.sleep(60)

    gateway, plain = own_gateway(upstream.url).start(), upstream.script  # one that does not give up after a second
    upstream.script = script
    gone, asked = upstream.gone, len(upstream.asked)
    with connected(gateway) as client:
        client.sendall(request() + request())
        eventually(lambda: len(upstream.asked) == asked + 1)
    eventually(lambda: upstream.gone == gone + 1, 20)
    assert len(upstream.asked) == asked + 1
    upstream.script = plain


def test_who_sends_far_ahead_of_its_answers_is_not_read_any_further(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    gateway, plain = own_gateway(upstream.url).start(), upstream.script
    waiting = asyncio.Event()

    async def script(asked: Asked) -> None:
        await waiting.wait()
        await plain(asked)

    upstream.script = script
    padded = request(BODY, f"x-pad: {'p' * 50_000}")
    with connected(gateway) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sent = 0
        while select.select([], [client], [], 1.0)[1]:  # ten looks of the watch
            sent += client.send(padded[sent % len(padded) :])
            assert sent < 40_000_000, "it is read without an end"
        client.settimeout(20)
        upstream._loop.call_soon_threadsafe(waiting.set)
        client.sendall(padded[sent % len(padded) :])
        for _ in range(sent // len(padded) + 1):
            assert one_answer(client)[0].startswith(b"HTTP/1.1 200")
    upstream.script = plain


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_closes_its_sending_half_has_left(
    gateway: GatewayProcess, upstream: ScriptedServer, stream: bool
) -> None:
    """Nobody can tell it from a client that is gone; nginx and Go see it so too."""

    async def script(asked: Asked) -> None:
        if stream:
            await asked.begin_stream()
            await asked.event(stream_events(["one ", "two "])[1])
        await asyncio.sleep(60)

    upstream.script = script
    gone, asked = upstream.gone, len(upstream.asked)
    with connected(gateway) as client:
        client.sendall(request(json.dumps({**HELLO, "stream": stream}).encode()))
        eventually(lambda: len(upstream.asked) == asked + 1)
        if stream:
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: upstream.gone == gone + 1)
        until_closed(client)
    if stream:
        recorded = eventually(lambda: [e for e in gateway.events(AnswerServed) if e.client_abort])
        assert recorded[-1].answer == "one "


def test_a_model_server_that_closes_its_sending_half_has_answered(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    async def script(asked: Asked) -> None:
        body = json.dumps(completion("all")).encode()
        await asked.send(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
        asked.writer.write_eof()

    upstream.script = script
    assert gateway.ask().json()["choices"][0]["message"]["content"] == "all"


def test_what_a_model_server_says_unasked_becomes_nobodys_answer(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    first, other = (json.dumps(completion(text)).encode() for text in ("mine", "another's"))

    async def script(asked: Asked) -> None:
        length = b"content-length: %d\r\n"
        await asked.send(
            (b"HTTP/1.1 200 OK\r\n" + length + b"\r\n%b") % (len(first), first)
            + (b"HTTP/1.1 418 No\r\nx-other: 1\r\n" + length + b"\r\n%b") % (len(other), other)
        )

    upstream.script = script
    for _ in range(5):
        answer = gateway.ask()
        assert (answer.status_code, answer.content) == (200, first)
        assert "x-other" not in answer.headers


def test_interim_answers_of_a_model_server_are_passed_over(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    async def script(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n")
        await asked.complete()

    upstream.script = script
    answer = gateway.ask()
    assert answer.status_code == 200
    assert "link" not in answer.headers


def test_a_client_that_offers_another_protocol_is_answered_in_this_one(gateway: GatewayProcess) -> None:
    upgrade = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    with connected(gateway) as client:
        for _ in range(2):
            client.sendall(request(BODY, *upgrade))
            assert one_answer(client)[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("headers", [[f"x-{n}: 1" for n in range(2000)], ["x: " + "h" * 70_000]], ids=["many", "large"])
def test_a_bomb_of_headers_is_431(gateway: GatewayProcess, headers: list[str]) -> None:
    with connected(gateway) as client:
        client.sendall(request(BODY, *headers))
        head, body = one_answer(client)
    assert head.startswith(b"HTTP/1.1 431")
    assert json.loads(body)["error"]["code"] == "headers_too_large"


def test_what_is_no_http_is_400_in_openais_shape(gateway: GatewayProcess) -> None:
    with connected(gateway) as client:
        client.sendall(b"\x16\x03\x01 TLS, perhaps\r\n\r\n")
        head, body = one_answer(client)
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
