"""A model server that refuses, hangs, breaks or is not there: an error in OpenAI's shape, and nobody else is harmed."""

import asyncio
import json
from collections.abc import Callable, Iterator

import openai
import pytest

from shared.events import AnswerServed
from shared.processes import free_ports
from tests.services.gateway.conftest import HELLO, GatewayProcess
from tests.services.gateway.scripted import Asked, Script, ScriptedServer, chunk

NOT_LOADED = b'{"error":{"message":"The model `a` does not exist.","type":"NotFoundError","param":"model","code":404}}'


async def closes(asked: Asked) -> None:
    asked.writer.transport.abort()


async def says_html(asked: Asked) -> None:
    await asked.answer(200, b"<html>It works!</html>", "text/html")


async def says_json_of_another_kind(asked: Asked) -> None:
    await asked.answer(200, b'{"choices":[]}')


async def is_no_http(asked: Asked) -> None:
    await asked.send(b"SSH-2.0-OpenSSH\r\n")
    await asyncio.sleep(60)


async def closes_in_its_body(asked: Asked) -> None:
    await asked.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"choices"')
    asked.writer.transport.abort()


async def says_too_much(asked: Asked) -> None:
    await asked.answer(200, b"x" * 3_000_000)


async def hangs(asked: Asked) -> None:
    await asyncio.sleep(60)


async def falls_silent(asked: Asked) -> None:
    await asked.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"choices"')
    await asyncio.sleep(60)


async def breaks_plainly(asked: Asked) -> None:
    await asked.answer(500, b"Internal Server Error", "text/plain")


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        (closes, 502, "closed before its first byte"),
        (says_html, 502, "no chat completion"),
        (says_json_of_another_kind, 502, "no choices[0].message"),
        (is_no_http, 502, "not HTTP"),
        (closes_in_its_body, 502, "closed in the middle"),
        (says_too_much, 502, "larger than 2000000"),
        (hangs, 504, "no byte within 1 s"),
        (falls_silent, 504, "silent for 0.5 s"),
        (breaks_plainly, 500, "answered 500: Internal Server Error"),
    ],
)
def test_a_broken_answer_is_an_error_and_no_record(
    gateway: GatewayProcess, upstream: ScriptedServer, script: Script, status: int, reason: str
) -> None:
    plain, records = upstream.script, len(gateway.events(AnswerServed))
    upstream.script = script
    answer = gateway.ask()
    assert answer.status_code == status
    assert reason in answer.json()["error"]["message"]
    assert answer.headers["x-ratchet-answer-id"]
    assert answer.headers["x-ratchet-version"].startswith("plain@base-")
    upstream.script = plain
    good = gateway.ask()
    assert good.status_code == 200
    gateway.answer(good.headers["x-ratchet-answer-id"])
    assert len(gateway.events(AnswerServed)) == records + 1


@pytest.mark.parametrize(("status", "extra"), [(400, ""), (429, "retry-after: 7\r\n"), (503, "retry-after: 1\r\n")])
def test_the_model_servers_own_errors_are_relayed(
    gateway: GatewayProcess, upstream: ScriptedServer, status: int, extra: str
) -> None:
    body = json.dumps({"error": {"message": "no", "type": "BadRequestError", "param": None, "code": status}}).encode()

    async def script(asked: Asked) -> None:
        await asked.answer(status, body, extra=extra)

    upstream.script = script
    answer = gateway.ask({**HELLO, "stream": True})
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers.get("retry-after", "") == extra.partition(": ")[2].strip()


@pytest.mark.parametrize("how", ["dies", "falls silent", "ends too soon"])
def test_a_stream_that_breaks_off_ends_in_an_error_event_and_is_recorded_as_sent(
    gateway: GatewayProcess, upstream: ScriptedServer, how: str
) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(chunk({"role": "assistant", "content": "one "}) + b'data: {"cut off')
        if how == "dies":
            asked.writer.transport.abort()
        elif how == "ends too soon":
            await asked.send(b"0\r\n\r\n")
        else:
            await asyncio.sleep(60)

    upstream.script = script
    answer = gateway.ask({**HELLO, "stream": True})
    *_, last = filter(None, answer.content.split(b"\n\n"))
    assert json.loads(last.removeprefix(b"data: "))["error"]["type"] == "upstream_error"
    assert b"[DONE]" not in answer.content
    recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
    assert (recorded.answer, recorded.finish_reason, recorded.client_abort) == ("one ", "error", False)


def test_the_openai_client_raises_when_a_stream_breaks_off(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(chunk({"role": "assistant", "content": "one "}))
        asked.writer.transport.abort()

    upstream.script = script
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="plain", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(openai.APIError, match="closed in the middle"):
            list(stream)


def test_a_kept_connection_that_the_server_has_closed_is_no_error(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    plain = upstream.script

    async def then_closes(asked: Asked) -> None:
        await plain(asked)
        asked.writer.close()

    for _ in range(20):
        upstream.script = then_closes
        assert gateway.ask().status_code == 200
        upstream.script = plain
        assert gateway.ask().status_code == 200


@pytest.fixture
def replicas() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    first, second = ScriptedServer(), ScriptedServer()
    yield first, second
    first.close()
    second.close()


def test_any_replica_that_can_serves(
    own_gateway: Callable[..., GatewayProcess], replicas: tuple[ScriptedServer, ScriptedServer]
) -> None:
    async def has_not_loaded(asked: Asked) -> None:
        await asked.answer(404, NOT_LOADED)

    first, second = replicas
    gateway = own_gateway(f"{first.url},{second.url}", RATCHET_GATEWAY_MISSING_VERSION_PATIENCE_SECONDS="0.3").start()
    for _ in range(4):
        assert gateway.ask().status_code == 200
    assert first.asked
    assert second.asked
    plain, first.script = first.script, has_not_loaded
    for _ in range(4):
        assert gateway.ask().status_code == 200
    second.stop()
    answer = gateway.ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["code"] == "version_not_loaded"
    first.script = plain
    for _ in range(4):
        assert gateway.ask().status_code == 200
    first.stop()
    answer = gateway.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_unavailable")
    first.start(first.port)
    assert gateway.ask().status_code == 200


def test_a_version_that_is_loaded_in_time_is_waited_for(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer
) -> None:
    plain, refused = upstream.script, 0

    async def loads_soon(asked: Asked) -> None:
        nonlocal refused
        refused += 1
        if refused <= 3:
            await asked.answer(404, NOT_LOADED)
        else:
            await plain(asked)

    gateway = own_gateway(upstream.url).start()
    upstream.script = loads_soon
    assert gateway.ask().status_code == 200
    assert refused == 4
    upstream.script = plain


def test_a_model_server_that_is_not_there_is_503_at_once(own_gateway: Callable[..., GatewayProcess]) -> None:
    (nobody,) = free_ports(1)
    gateway = own_gateway(f"http://127.0.0.1:{nobody}").start()
    answer = gateway.ask()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert f"127.0.0.1:{nobody}" in answer.json()["error"]["message"]
