"""What the gateway, promotion and applications may expect of a model server: the embedded one and vLLM alike.

The module of a subclass has a fixture `server`: the tiny base in float32, 256 tokens, four adapters
or more of rank 16 or less.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contracts.dialect import events_of
from tests.services.model_server.bases import write_adapter
from training.tiny.house import SYSTEM_PROMPT, ticket

TINY = Path(__file__).parents[2] / "training" / "tiny" / "base"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CHAT, LOAD, UNLOAD = "/v1/chat/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
ASK = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": ticket(1).text}]

BAD_CHATS: dict[str, tuple[Any, str | None]] = {  # body, the parameter that the error names
    "no messages": ({}, "body.messages"),
    "messages of the wrong kind": ({"messages": "hi"}, None),
    "no JSON": ("{", "body.1"),
    "max_tokens 0": ({"messages": ASK, "max_tokens": 0}, "max_tokens"),
    "max_tokens beyond the model": ({"messages": ASK, "max_tokens": 100_000}, "max_tokens"),
    "a negative temperature": ({"messages": ASK, "temperature": -1}, "temperature"),
    "a prompt too long": ({"messages": [{"role": "user", "content": "ticket " * 400}]}, "input_tokens"),
    "stream options without a stream": (
        {"messages": ASK, "stream": False, "stream_options": {"include_usage": True}},
        "stream_options",
    ),
}


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    base: str  # the served name


class ModelServerContract:
    @pytest.fixture(scope="class")
    @classmethod
    def folders(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        root = tmp_path_factory.mktemp("adapters")
        ranks = {"one": 8, "two": 16, "big": 32, "torn": 8, "empty": 8}
        made = {
            name: write_adapter(root / name, TINY, rank=rank, seed=seed, target_modules=LINEAR)
            for seed, (name, rank) in enumerate(ranks.items())
        }
        (made["torn"] / "adapter_config.json").write_text("{not json")
        (made["empty"] / "adapter_model.safetensors").unlink()
        return made

    @pytest.fixture
    def client(self, server: Server) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            yield client

    @pytest.fixture
    def version(self, client: httpx.Client) -> Iterator[str]:
        """A name as versions have them; what a test loads under it is gone afterwards."""
        name = f"support-triage@{uuid.uuid4().hex[:16]}"
        yield name
        client.post(UNLOAD, json={"lora_name": name})

    # -- answers

    def test_a_whole_answer_is_counted_and_says_why_it_ended(self, client: httpx.Client, server: Server) -> None:
        answer = chat(client, model=server.base, max_tokens=3)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        body = answer.json()
        assert (body["object"], body["model"]) == ("chat.completion", server.base)
        (choice,) = body["choices"]
        assert (choice["index"], choice["finish_reason"]) == (0, "length")
        assert choice["message"]["role"] == "assistant"
        usage = body["usage"]
        assert usage["completion_tokens"] == 3
        assert usage["total_tokens"] == usage["prompt_tokens"] + 3
        longer = chat(client, model=server.base).json()
        assert longer["choices"][0]["finish_reason"] == "stop"
        assert longer["usage"]["prompt_tokens"] == usage["prompt_tokens"]

    def test_a_stream_is_the_same_answer_one_token_at_a_time(self, client: httpx.Client, server: Server) -> None:
        whole = chat(client, model=server.base).json()
        events = events_of(chat(client, model=server.base, stream=True))
        first, *rest = events
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert {event["object"] for event in events} == {"chat.completion.chunk"}
        assert len({event["id"] for event in events}) == 1
        assert len({event["created"] for event in events}) == 1
        assert {event["model"] for event in events} == {server.base}
        assert text_of(rest) == whole["choices"][0]["message"]["content"]
        reasons = [event["choices"][0]["finish_reason"] for event in events]
        assert reasons == [None] * (len(events) - 1) + ["stop"]
        assert not any(event.get("usage") for event in events)

    def test_a_stream_tells_its_usage_last_and_only_when_asked(self, client: httpx.Client, server: Server) -> None:
        whole = chat(client, model=server.base).json()
        *events, last = events_of(chat(client, model=server.base, stream=True, stream_options={"include_usage": True}))
        assert last["choices"] == []
        counted = ("prompt_tokens", "completion_tokens", "total_tokens")
        assert [last["usage"][k] for k in counted] == [whole["usage"][k] for k in counted]
        assert not any(event.get("usage") for event in events)

    def test_a_streams_running_count_ends_at_its_total(self, client: httpx.Client, server: Server) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        *events, last = events_of(chat(client, model=server.base, stream=True, stream_options=options))
        counts = [event["usage"]["completion_tokens"] for event in events]
        assert counts == sorted(counts)
        assert (counts[0], counts[-1]) == (0, last["usage"]["completion_tokens"])

    def test_the_token_probabilities_belong_to_the_text(self, client: httpx.Client, server: Server) -> None:
        choice = chat(client, model=server.base, logprobs=True, top_logprobs=2).json()["choices"][0]
        tokens = choice["logprobs"]["content"]
        text = "".join(token["token"] for token in tokens)
        assert text.startswith(choice["message"]["content"])  # the end token has a text of its own
        assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)
        assert all(token["top_logprobs"][0]["token"] == token["token"] for token in tokens)

    def test_a_stop_word_ends_an_answer_before_it(self, client: httpx.Client, server: Server) -> None:
        text = content(chat(client, model=server.base))
        word = text[len(text) // 2 :][:3]
        stopped = chat(client, model=server.base, stop=[word])
        assert content(stopped) == text[: text.index(word)]
        choice = stopped.json()["choices"][0]
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", word)

    def test_a_seed_repeats_an_answer_and_n_gives_as_many(self, client: httpx.Client, server: Server) -> None:
        fields = {"model": server.base, "temperature": 1.5, "seed": 7, "n": 3, "max_tokens": 12}
        first, second = (chat(client, **fields).json()["choices"] for _ in range(2))
        texts = [[choice["message"]["content"] for choice in choices] for choices in (first, second)]
        assert texts[0] == texts[1]
        assert [choice["index"] for choice in first] == [0, 1, 2]
        assert len(set(texts[0])) > 1

    def test_fields_it_does_not_know_are_let_pass(self, client: httpx.Client, server: Server) -> None:
        assert chat(client, model=server.base, max_tokens=2, frobnicate=1).status_code == 200

    def test_a_request_without_a_model_is_answered_by_the_base(self, client: httpx.Client, server: Server) -> None:
        assert chat(client, max_tokens=2).json()["model"] == server.base

    def test_the_callers_request_id_comes_back(self, client: httpx.Client) -> None:
        answer = chat(client, {"X-Request-Id": "abc-123"}, max_tokens=2)
        assert (answer.headers["x-request-id"], answer.json()["id"]) == ("abc-123", "chatcmpl-abc-123")

    def test_plain_completions_are_answered_too(self, client: httpx.Client, server: Server) -> None:
        asked = {"model": server.base, "prompt": "say", "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        whole = client.post("/v1/completions", json=asked).json()
        assert (whole["object"], whole["usage"]["completion_tokens"]) == ("text_completion", 4)
        events = events_of(client.post("/v1/completions", json=asked | {"stream": True}))
        assert "".join(event["choices"][0]["text"] for event in events) == whole["choices"][0]["text"]

    # -- refusals

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("mistake", BAD_CHATS)
    def test_a_bad_request_is_a_400_that_names_what_is_wrong(
        self, client: httpx.Client, server: Server, mistake: str, stream: bool
    ) -> None:
        body, parameter = BAD_CHATS[mistake]
        if isinstance(body, dict):
            body = json.dumps({"model": server.base, "stream": stream} | body)
        answer = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
        if parameter is not None:
            assert error_of(answer)["param"] == parameter

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    def test_an_unknown_model_is_a_404(self, client: httpx.Client, stream: bool) -> None:
        answer = chat(client, model="support-triage@0000000000000000", stream=stream)
        error = error_of(answer)
        assert (answer.status_code, error["type"], error["param"]) == (404, "NotFoundError", "model")
        assert "`support-triage@0000000000000000` does not exist" in error["message"]

    def test_a_wrong_method_and_an_unknown_path_say_so(self, client: httpx.Client) -> None:
        assert client.get(CHAT).status_code == 405
        assert client.get("/v1/nope").status_code == 404

    # -- adapters

    def test_an_adapter_serves_under_its_versions_name_until_it_is_unloaded(
        self, client: httpx.Client, server: Server, folders: dict[str, Path], version: str
    ) -> None:
        answer = load(client, version, folders["one"])
        assert (answer.status_code, answer.text) == (200, f"Success: LoRA adapter '{version}' added successfully.")
        cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
        assert (cards[server.base]["parent"], cards[version]["parent"]) == (None, server.base)
        assert (cards[version]["object"], cards[version]["root"]) == ("model", str(folders["one"]))
        served = chat(client, model=version, max_tokens=12)
        assert served.json()["model"] == version
        assert content(served) != content(chat(client, model=server.base, max_tokens=12))
        assert text_of(events_of(chat(client, model=version, max_tokens=12, stream=True))) == content(served)
        gone = client.post(UNLOAD, json={"lora_name": version})
        assert (gone.status_code, gone.text) == (200, f"Success: LoRA adapter '{version}' removed successfully.")
        assert chat(client, model=version).status_code == 404
        assert version not in {card["id"] for card in client.get("/v1/models").json()["data"]}

    def test_loading_twice_is_refused_and_changes_nothing(
        self, client: httpx.Client, folders: dict[str, Path], version: str
    ) -> None:
        load(client, version, folders["one"]).raise_for_status()
        before = content(chat(client, model=version, max_tokens=12))
        for folder in ("one", "two"):
            again = load(client, version, folders[folder])
            assert (again.status_code, error_of(again)["type"]) == (400, "InvalidUserInput")
            assert "has already been loaded" in error_of(again)["message"]
        assert content(chat(client, model=version, max_tokens=12)) == before

    def test_loading_in_place_answers_with_the_new_weights_at_once(
        self, client: httpx.Client, folders: dict[str, Path], version: str
    ) -> None:
        """The keys and values that the old weights left in a prefix cache must not answer for the new ones."""
        said = {}
        for folder in ("one", "two"):
            load(client, version, folders[folder], load_inplace=True).raise_for_status()
            said[folder] = content(chat(client, model=version, max_tokens=12))
        load(client, version, folders["one"], load_inplace=True).raise_for_status()
        assert content(chat(client, model=version, max_tokens=12)) == said["one"] != said["two"]

    @pytest.mark.parametrize(
        ("folder", "said"),
        [("big", "LoRA rank 32 is greater than max_lora_rank 16"), ("torn", "double quotes"), ("empty", "")],
    )
    def test_an_adapter_that_cannot_be_used_is_refused_and_the_rest_serves_on(
        self, client: httpx.Client, folders: dict[str, Path], version: str, folder: str, said: str
    ) -> None:
        refused = load(client, version, folders[folder])
        assert refused.status_code in (400, 500)
        assert said in error_of(refused)["message"]
        assert chat(client, model=version).status_code == 404
        assert chat(client, max_tokens=2).status_code == 200
        load(client, version, folders["one"]).raise_for_status()  # the name is still free

    def test_an_adapter_that_is_not_there_is_a_404(self, client: httpx.Client, version: str, tmp_path: Path) -> None:
        answer = load(client, version, tmp_path / "nope")
        assert (answer.status_code, error_of(answer)["type"]) == (404, "NotFoundError")
        assert f"Loading lora {version} failed" in error_of(answer)["message"]

    def test_an_adapter_may_not_take_the_bases_name(
        self, client: httpx.Client, server: Server, folders: dict[str, Path]
    ) -> None:
        answer = load(client, server.base, folders["one"])
        assert (answer.status_code, error_of(answer)["type"]) == (400, "InvalidUserInput")

    def test_unloading_what_is_not_there_is_a_404(self, client: httpx.Client) -> None:
        answer = client.post(UNLOAD, json={"lora_name": "support-triage@0000000000000000"})
        assert (answer.status_code, error_of(answer)["type"]) == (404, "NotFoundError")

    def test_what_began_with_an_adapter_ends_with_it_though_it_is_unloaded_meanwhile(
        self, client: httpx.Client, server: Server, folders: dict[str, Path], version: str
    ) -> None:
        load(client, version, folders["one"]).raise_for_status()
        asked = {"model": version, "max_tokens": 100, "ignore_eos": True}
        alone = content(chat(client, **asked))
        unloaded = 0
        lines = []
        body = {"messages": ASK, "temperature": 0, "stream": True} | asked
        with httpx.Client(base_url=server.url, timeout=60) as other, other.stream("POST", CHAT, json=body) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if len(lines) == 3:
                    unloaded = client.post(UNLOAD, json={"lora_name": version}).status_code
        assert unloaded == 200
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert text_of(events) == alone
        assert chat(client, model=version).status_code == 404

    # -- being one of many

    def test_many_ask_at_once_for_base_and_adapters_and_each_gets_its_own_answer(
        self, client: httpx.Client, server: Server, folders: dict[str, Path], version: str
    ) -> None:
        second = version[:-1] + ("0" if version[-1] != "0" else "1")
        try:
            load(client, version, folders["one"]).raise_for_status()
            load(client, second, folders["two"]).raise_for_status()
            models = [server.base, version, second]
            alone = {model: content(chat(client, model=model, max_tokens=12)) for model in models}
            assert len(set(alone.values())) == 3
            together = asyncio.run(_all_at_once(server.url, models * 8))
            assert together == [alone[model] for model in models * 8]
        finally:
            client.post(UNLOAD, json={"lora_name": second})

    def test_a_caller_who_hangs_up_harms_nobody(self, client: httpx.Client, server: Server) -> None:
        body = {"model": server.base, "messages": ASK, "max_tokens": 150, "ignore_eos": True, "stream": True}
        for _ in range(10):
            with httpx.Client(base_url=server.url) as other, other.stream("POST", CHAT, json=body) as answer:
                next(answer.iter_bytes())
        assert chat(client, max_tokens=2).status_code == 200

    def test_it_says_that_it_is_well_and_which_version_it_is(self, client: httpx.Client) -> None:
        assert (client.get("/health").status_code, client.get("/health").content) == (200, b"")
        assert isinstance(client.get("/version").json()["version"], str)


def chat(client: httpx.Client, headers: dict[str, str] | None = None, /, **fields: Any) -> httpx.Response:
    return client.post(CHAT, headers=headers, json={"messages": ASK, "temperature": 0, "max_tokens": 100} | fields)


def load(client: httpx.Client, name: str, folder: Path, **fields: Any) -> httpx.Response:
    return client.post(LOAD, json={"lora_name": name, "lora_path": str(folder)} | fields)


def content(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def text_of(events: list[Any]) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_error, answer.text
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"] == answer.status_code
    found: dict[str, Any] = error
    return found


async def _all_at_once(url: str, models: list[str]) -> list[str]:
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        bodies = [{"model": m, "messages": ASK, "temperature": 0, "max_tokens": 12} for m in models]
        return [content(answer) for answer in await asyncio.gather(*(client.post(CHAT, json=b) for b in bodies))]
