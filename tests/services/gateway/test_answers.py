"""An application asks: what it gets, what the model server sees, what is recorded."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from shared.events import AnswerServed
from shared.ids import base_digest, base_version_name
from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually
from tests.services.gateway.scripted import Asked, ScriptedServer, chunk, completion, stream_events

BASE = base_version_name("plain", base_digest("builtin:tiny"))


def test_an_answer_is_relayed_byte_for_byte_and_recorded(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    body = json.dumps(completion("hello"), indent=1).encode()

    async def script(asked: Asked) -> None:
        await asked.answer(200, body, extra="x-request-id: r1\r\n")

    upstream.script = script
    answer = gateway.ask(
        {**HELLO, "temperature": 0.20, "user": "u1", "metadata": {"group": "g1", "conversation": "c1"}}
    )
    assert answer.status_code == 200
    assert answer.content == body
    assert answer.headers["x-request-id"] == "r1"
    assert answer.headers["x-ratchet-version"] == BASE
    recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
    assert (recorded.workload, recorded.version, recorded.answer) == ("plain", BASE, "hello")
    assert recorded.messages == HELLO["messages"]
    assert (recorded.user, recorded.group, recorded.conversation) == ("u1", "g1", "c1")
    assert recorded.parameters["temperature"] == 0.2
    assert (recorded.prompt_tokens, recorded.answer_tokens, recorded.finish_reason) == (12, 6, "stop")
    assert not recorded.stream
    assert recorded.latency_seconds > 0
    assert recorded.served_at.endswith("Z")


def test_the_model_server_gets_its_own_model_name_and_unknown_fields_untouched(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    raw = (
        b'{"model":"plain","vllm_extra":{"a":[1.50,true]},"metadata":{"group":"g"},'
        b'"user":"u","messages":[{"role":"user","content":"hi"}],"seed":7}'
    )
    gateway.client.post("/v1/chat/completions", content=raw, headers={"traceparent": "00-a-b-01", "x-secret": "s"})
    asked = upstream.asked[-1]
    assert b'"vllm_extra":{"a":[1.50,true]}' in asked.body
    assert asked.json["model"] == "tiny"
    assert asked.json["user"] == "u"
    assert "metadata" not in asked.json
    assert b"traceparent: 00-a-b-01" in asked.head
    assert b"x-secret" not in asked.head


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_workloads_system_prompt_comes_first_unless_the_request_has_its_own(
    gateway: GatewayProcess, upstream: ScriptedServer, role: str
) -> None:
    ours = {"role": "system", "content": "You sort tickets."}
    answer = gateway.ask({"model": "support-triage", "messages": HELLO["messages"]})
    assert upstream.asked[-1].json["messages"] == [ours, *HELLO["messages"]]
    assert gateway.answer(answer.headers["x-ratchet-answer-id"]).messages == [ours, *HELLO["messages"]]
    own = [{"role": role, "content": "Mine."}, *HELLO["messages"]]
    gateway.ask({"model": "support-triage", "messages": own})
    assert upstream.asked[-1].json["messages"] == own


def test_a_stream_is_relayed_as_it_comes(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    """The model server sends its second event only once the client has the first."""
    seen = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        first, *rest = stream_events(["he", "llo"])
        await asked.event(first)
        await asyncio.wait_for(seen.wait(), 10)
        await asked.event(b"".join(rest))
        await asked.send(b"0\r\n\r\n")

    upstream.script = script
    with gateway.client.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as answer:
        pieces = answer.iter_bytes()
        got = next(pieces)
        assert got == stream_events(["he", "llo"])[0]
        upstream._loop.call_soon_threadsafe(seen.set)
        got += b"".join(pieces)
    assert got == b"".join(stream_events(["he", "llo"]))
    recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
    assert (recorded.answer, recorded.finish_reason, recorded.stream) == ("hello", "stop", True)
    assert recorded.first_token_seconds is not None
    assert 0 < recorded.first_token_seconds <= recorded.latency_seconds


def test_events_torn_anywhere_arrive_whole(gateway: GatewayProcess, upstream: ScriptedServer) -> None:
    whole = b"".join(stream_events(["[DO", "NE] data: [DONE]", "ü"]))

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for start in range(0, len(whole), 7):
            await asked.event(whole[start : start + 7])
            await asyncio.sleep(0)
        await asked.send(b"0\r\n\r\n")

    upstream.script = script
    answer = gateway.ask({**HELLO, "stream": True})
    assert answer.content == whole
    assert gateway.answer(answer.headers["x-ratchet-answer-id"]).answer == "[DONE] data: [DONE]ü"


def test_usage_logprobs_and_tool_calls_of_a_stream_are_recorded(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
    events = [
        chunk({"role": "assistant", "content": None}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, "tool_calls"),
        b'data: {"choices":[{"index":0,"delta":{},"logprobs":{"content":[{"logprob":-1.0},{"logprob":-3.0}]}}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
        b"data: [DONE]\n\n",
    ]

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(b"".join(events))
        await asked.send(b"0\r\n\r\n")

    upstream.script = script
    answer = gateway.ask({**HELLO, "stream": True})
    recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
    assert recorded.tool_calls == [
        {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    ]
    assert (recorded.answer, recorded.finish_reason) == ("", "tool_calls")
    assert (recorded.prompt_tokens, recorded.answer_tokens, recorded.mean_logprob) == (3, 2, -2.0)


def test_a_stream_the_client_abandons_stops_the_model_server_and_is_recorded_as_sent(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(b"".join(stream_events(["one ", "two "])[:3]).replace(b'"stop"', b"null"))
        await asyncio.sleep(60)

    upstream.script = script
    gone = upstream.gone
    with gateway.client.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as answer:
        next(answer.iter_bytes())
    eventually(lambda: upstream.gone == gone + 1)
    recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
    assert recorded.client_abort
    assert recorded.answer == "one two "


def test_a_client_that_leaves_before_its_answer_stops_the_model_server_and_leaves_no_record(
    gateway: GatewayProcess, upstream: ScriptedServer
) -> None:
    async def script(asked: Asked) -> None:
        await asyncio.sleep(60)

    upstream.script = script
    gone, records = upstream.gone, len(gateway.events(AnswerServed))
    with pytest.raises(httpx.ReadTimeout):
        gateway.ask(timeout=0.2)
    eventually(lambda: upstream.gone == gone + 1)
    assert len(gateway.events(AnswerServed)) == records


def test_a_conversation_may_come_in_a_header(gateway: GatewayProcess) -> None:
    answer = gateway.ask(headers={"x-ratchet-conversation": "c9"})
    assert gateway.answer(answer.headers["x-ratchet-answer-id"]).conversation == "c9"


def test_the_openai_client_chats_streams_and_gets_its_own_errors(gateway: GatewayProcess) -> None:
    client: Any = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
    with client:
        messages = [{"role": "user", "content": "hi"}]
        raw = client.chat.completions.with_raw_response.create(model="plain", messages=messages)
        assert raw.parse().choices[0].message.content == "hello"
        assert raw.headers["x-ratchet-version"] == BASE
        stream = client.chat.completions.create(model="plain", messages=messages, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream) == "hello"
        assert [m.id for m in client.models.list()] == ["plain", "support-triage"]
        with pytest.raises(openai.NotFoundError, match="known: plain, support-triage"):
            client.chat.completions.create(model="nope", messages=messages)
        with pytest.raises(openai.BadRequestError, match="`messages` is empty"):
            client.chat.completions.create(model="plain", messages=[])


def test_an_answer_is_counted_where_prometheus_looks(gateway: GatewayProcess) -> None:
    before = gateway.client.get("/v1/status").json()["answers_total"]
    gateway.ask()
    assert gateway.client.get("/v1/status").json()["answers_total"] == before + 1
    text = gateway.client.get("/metrics").text
    assert 'ratchet_gateway_answers_total{status="200",workload="plain"}' in text
    assert "ratchet_gateway_spool_bytes" in text
