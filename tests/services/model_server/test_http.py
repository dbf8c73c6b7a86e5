"""Over a real port: streams, odd requests, clients that hang up, and traffic while adapters come and go."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.model_server.engine import Refused
from services.model_server.sequence import Sequence
from services.model_server.serving import Serving
from tests.services.model_server.http_server import serving_http

HELLO = [{"role": "user", "content": "hello there"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(base_folder: Path) -> Iterator[tuple[str, Serving]]:
    with serving_http("small", base_folder, max_body_bytes=100_000, max_queue=40) as running:
        yield running


@pytest.fixture
def client(server: tuple[str, Serving]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server[0], timeout=60) as client:
        yield client


@pytest.fixture
def loaded(client: httpx.Client, adapter_folders: dict[str, Path]) -> Iterator[None]:
    for name, folder in adapter_folders.items():
        client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(folder)}).raise_for_status()
    yield
    for name in adapter_folders:
        client.post("/v1/unload_lora_adapter", json={"lora_name": name})


def chat(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(CHAT, json={"messages": HELLO, "max_tokens": 12, "temperature": 0} | fields)


def content(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def events(answer: httpx.Response) -> list[Any]:
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def until(condition: Any) -> None:
    """Waits for what another thread will bring about."""
    waiter = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiter.wait(0.01)
    raise AssertionError("it did not happen within 30 s")


def test_a_stream_says_what_the_whole_answer_says(client: httpx.Client) -> None:
    whole = chat(client, logprobs=True, top_logprobs=2, return_token_ids=True).json()["choices"][0]
    chunks = [
        e["choices"][0] for e in events(chat(client, stream=True, logprobs=True, top_logprobs=2, return_token_ids=True))
    ]
    assert "".join(c["delta"]["content"] for c in chunks) == whole["message"]["content"]
    assert [t for c in chunks[1:] for t in c["token_ids"]] == whole["token_ids"]
    assert [c["finish_reason"] for c in chunks] == [None] * 12 + ["length"]
    streamed = [entry for c in chunks[1:] for entry in c["logprobs"]["content"]]
    for one, other in zip(streamed, whole["logprobs"]["content"], strict=True):
        assert one["token"] == other["token"]
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)


def test_several_choices_are_drawn_apart_and_counted_together(client: httpx.Client) -> None:
    body = chat(client, n=3, temperature=1.0, seed=7).json()
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert len(set(texts)) == 3
    assert body["usage"]["completion_tokens"] == 36
    streamed = events(chat(client, n=3, temperature=1.0, seed=7, stream=True, stream_options={"include_usage": True}))
    pieces = ["", "", ""]
    for event in streamed[:-1]:
        pieces[event["choices"][0]["index"]] += event["choices"][0]["delta"]["content"]
    assert pieces == texts
    assert streamed[-1]["usage"] == {key: body["usage"][key] for key in streamed[-1]["usage"]}


def test_plain_completions_take_texts_and_tokens(client: httpx.Client) -> None:
    def complete(prompt: object, **fields: object) -> Any:
        body = {"prompt": prompt, "max_tokens": 6, "temperature": 0, "return_token_ids": True} | fields
        return client.post("/v1/completions", json=body).json()

    one = complete("hello there", logprobs=2)["choices"][0]
    tokens = one["prompt_token_ids"]
    several = complete(["hello there", "hello", "hello there"])
    assert [c["text"] for c in several["choices"]][::2] == [one["text"]] * 2
    assert [c["index"] for c in several["choices"]] == [0, 1, 2]
    assert complete(tokens)["choices"][0]["text"] == one["text"]
    assert complete([tokens, tokens])["usage"]["prompt_tokens"] == 2 * len(tokens)
    assert one["logprobs"]["text_offset"][0] == 0
    assert [len(v) for v in one["logprobs"].values()] == [6, 6, 6, 6]
    assert complete([300])["error"]["message"].startswith("Token ids are from 0 to 299")
    assert complete("")["error"]["message"] == complete([])["error"]["message"] == "The prompt cannot be empty."


def test_a_full_queue_asks_to_come_again(
    server: tuple[str, Serving], client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is full: test_engine."""

    def full(_sequences: list[Sequence]) -> None:
        raise Refused("40 answers wait already")

    with monkeypatch.context() as patch:
        patch.setattr(server[1].engine, "submit", full)
        answer = chat(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["type"] == "ServiceUnavailableError"
    assert answer.json()["error"]["message"] == "40 answers wait already"
    assert chat(client).status_code == 200


def test_parts_of_text_are_one_text(client: httpx.Client) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]}]
    assert content(chat(client, messages=parts)) == content(
        chat(client, messages=[{"role": "user", "content": "hello\nthere"}])
    )


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"tools": [{"type": "function"}]}, 400, "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format other than text"),
        ({"top_p": 0}, 400, "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)"),
        ({"top_k": -7}, 400, "top_k must be"),
        ({"n": 0}, 400, "n must be at least 1"),
        ({"n": 41, "temperature": 1}, 400, "41 answers in one request are more than the 40 that may wait"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "greater than max allowed: 20"),
        ({"top_logprobs": 2}, 400, "`logprobs` must be set to true"),
        ({"stop": [""]}, 400, "stop takes at most"),
        ({"stop": 5}, 400, "validation error"),
        ({"stream_options": {"include_usage": True}}, 400, "Stream options can only be defined when `stream=True`."),
        ({"max_tokens": 250}, 400, "you requested 250 output tokens and your prompt contains at least"),
        ({"max_tokens": "many"}, 400, "'loc': 'body.max_tokens'"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "nobody may not speak"),
        ({"messages": [{"content": "x"}]}, 400, "body.messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "body.messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "only parts of type text"),
        ({"messages": [5]}, 400, "'loc': 'body.messages.0'"),
        ({"model": 5}, 400, "'loc': 'body.model'"),
        ({"chat_template_kwargs": [1]}, 400, "chat_template_kwargs should be an object"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    client: httpx.Client, fields: dict[str, Any], status: int, says: str
) -> None:
    answer = chat(client, **fields)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert list(answer.json()["error"]) == ["message", "type", "param", "code"]


def test_less_than_no_logprob_is_not_called_too_many(client: httpx.Client) -> None:
    for logprobs, says in ((-1, "of -1, which is negative"), (21, "of 21, which is greater than max allowed: 20")):
        answer = client.post("/v1/completions", json={"prompt": "hello", "logprobs": logprobs})
        assert (answer.status_code, says in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(("max_tokens", "says"), [(8, "contains at least 257 input tokens"), (999, "max_tokens=999")])
def test_what_is_far_too_long_is_refused_before_it_is_tokenized(
    server: tuple[str, Serving],
    client: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    max_tokens: int,
    says: str,
) -> None:
    def never(*_: Any, **__: Any) -> list[int]:
        raise AssertionError("it was tokenized")

    most = server[1].base.most_characters
    assert most is not None
    monkeypatch.setattr("services.model_server.prompts._encoded", never)
    text = "y" * (most * 256 + 1)
    answer = client.post(
        path, json={"prompt": text, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
    )
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_a_model_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    answer = client.get("/v1/models/gone")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 90_000,
        b'{"messages": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [], "temperature": NaN}',
        b'{"messages": [], "temperature": 1e999}',
        b'{"messages": [], "seed": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\xff",
        b"[]",
        b"null",
        b'"text"',
        b"",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_hostile_bodies_get_a_400_and_harm_nobody(client: httpx.Client, body: bytes) -> None:
    answer = client.post(CHAT, content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == 400
    assert len(answer.content) < 1000
    assert chat(client).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused_and_the_caller_hears_why(client: httpx.Client, chunked: bool) -> None:
    body = b'{"messages": "' + b"x" * 10_000_000 + b'"}'
    answer = client.post(CHAT, content=iter([body]) if chunked else body)
    assert answer.status_code == 413
    assert "larger than 100000 bytes" in answer.json()["error"]["message"]


def test_text_in_any_language_comes_and_goes(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "Grüße 東京 😀 \u2028 \x00"}]
    whole = content(chat(client, messages=messages, temperature=1.3, seed=1, max_tokens=120))
    streamed = events(chat(client, messages=messages, temperature=1.3, seed=1, max_tokens=120, stream=True))
    assert "".join(e["choices"][0]["delta"]["content"] for e in streamed) == whole


def test_the_openai_client_understands_it(server: tuple[str, Serving], loaded: None) -> None:
    sdk = openai.OpenAI(base_url=f"{server[0]}/v1", api_key="none")
    assert [model.id for model in sdk.models.list()] == ["small", "a", "b", "c"]
    assert [sdk.models.retrieve(name).id for name in ("small", "b")] == ["small", "b"]
    asked = {"model": "a", "messages": HELLO, "temperature": 0, "max_tokens": 8}
    whole = sdk.chat.completions.create(**asked)  # type: ignore[call-overload]
    parts = list(sdk.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
    with pytest.raises(openai.NotFoundError, match="The model `gone` does not exist"):
        sdk.chat.completions.create(model="gone", messages=HELLO)  # type: ignore[arg-type]


def test_nothing_fails_while_adapters_come_and_go(
    server: tuple[str, Serving], client: httpx.Client, loaded: None, adapter_folders: dict[str, Path]
) -> None:
    expected = {name: content(chat(client, model=name)) for name in ("small", "a", "b")}

    async def traffic() -> list[tuple[str, str]]:
        async with httpx.AsyncClient(base_url=server[0], timeout=60) as many:

            async def ask(name: str) -> list[tuple[str, str]]:
                body = {"model": name, "messages": HELLO, "max_tokens": 12, "temperature": 0}
                return [(name, content(await many.post(CHAT, json=body))) for _ in range(6)]

            async def swap() -> list[tuple[str, str]]:
                for n in range(12):
                    body = {"lora_name": f"v{n}", "lora_path": str(adapter_folders["c"])}
                    (await many.post("/v1/load_lora_adapter", json=body)).raise_for_status()
                    await many.post(CHAT, json={"model": f"v{n}", "messages": HELLO, "max_tokens": 3})
                    (await many.post("/v1/unload_lora_adapter", json={"lora_name": f"v{n}"})).raise_for_status()
                return []

            found = await asyncio.gather(swap(), *(ask(name) for name in expected for _ in range(3)))
            return [pair for pairs in found for pair in pairs]

    answers = asyncio.run(traffic())
    assert len(answers) == 54
    assert all(text == expected[name] for name, text in answers)


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_frees_the_place(server: tuple[str, Serving], stream: bool) -> None:
    url, serving = server
    body = {"messages": HELLO, "max_tokens": 200, "temperature": 1, "ignore_eos": True, "n": 30, "stream": stream}
    rows = serving.engine._batch.rows

    async def hang_up() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60) as impatient:
            asking = asyncio.ensure_future(_begin(impatient, body, stream))
            await asyncio.to_thread(until, lambda: len(rows) > 5)
            begun.extend(rows)
            asking.cancel()

    begun: list[Sequence] = []
    asyncio.run(hang_up())
    until(lambda: not rows)
    assert min(len(sequence.tokens) for sequence in begun) < 200  # stopped, not finished


async def _begin(client: httpx.AsyncClient, body: dict[str, Any], stream: bool) -> None:
    if not stream:
        await client.post(CHAT, json=body)
        return
    async with client.stream("POST", CHAT, json=body) as answer:
        async for _ in answer.aiter_bytes():
            pass


def test_two_loads_of_one_name_at_once_load_it_once(
    server: tuple[str, Serving], client: httpx.Client, adapter_folders: dict[str, Path]
) -> None:
    async def load() -> list[int]:
        async with httpx.AsyncClient(base_url=server[0], timeout=60) as many:
            body = {"lora_name": "once", "lora_path": str(adapter_folders["a"])}
            answers = await asyncio.gather(*(many.post("/v1/load_lora_adapter", json=body) for _ in range(5)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(load()) == [200, 400, 400, 400, 400]
    client.post("/v1/unload_lora_adapter", json={"lora_name": "once"}).raise_for_status()


def test_it_reports_on_itself(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "service": "model_server"}
    assert client.get("/readyz").json() == {"status": "ready", "objections": []}
    chat(client)
    metrics = client.get("/metrics").text
    assert 'ratchet_model_server_requests_total{route="chat",status="200"}' in metrics
    assert 'ratchet_model_server_tokens_total{kind="generated"}' in metrics
    assert 'ratchet_model_server_step_seconds_count{phase="decode"}' in metrics
