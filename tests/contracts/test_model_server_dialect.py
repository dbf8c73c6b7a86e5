"""What a real vLLM server answered, request by request, and what ours answers to the same requests.

Compared: status, content type, the request id's way back, every key of every body in its order with its kind of value,
error messages and types, the number of stream events. Not compared: ids, times, generated text, counts of tokens.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.model_server.bases import write_adapter, write_base
from tests.services.model_server.http_server import serving_http

RECORDED = [
    json.loads(line) for line in (Path(__file__).parent / "recorded" / "model_server.jsonl").read_text().splitlines()
]
# vLLM answers 500 for these mistakes of the caller; ours says 400 and what is wrong.
OURS_IS_CLEARER = {
    "10_load_rank_too_high": "LoRA rank 32 is greater than max_lora_rank 16.",
    "47_load_bad_config_json": "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    "48_load_no_weights": "has no adapter_model.safetensors",
}
COMPARED_VALUES = {"finish_reason", "stop_reason", "object", "role", "index", "parent", "max_model_len", "model"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Response]]:
    """Ours to all recorded requests, asked in the recorded order: they build on each other."""
    root = tmp_path_factory.mktemp("dialect")
    base = write_base(root / "tiny")
    for name, rank in (("ad8", 8), ("ad8b", 8), ("ad32", 32), ("badcfg", 8), ("noweights", 8)):
        write_adapter(root / f"lora_{name}", base, rank=rank, seed=len(name))
    (root / "lora_badcfg" / "adapter_config.json").write_text("{not json")
    (root / "lora_noweights" / "adapter_model.safetensors").unlink()
    with serving_http("tiny", base) as (url, _serving), httpx.Client(base_url=url, timeout=60) as client:
        yield {r["name"]: _ask(client, r, root) for r in RECORDED}


def _ask(client: httpx.Client, recorded: dict[str, Any], root: Path) -> httpx.Response:
    body = recorded["body"]
    content = None if body is None else body.replace("{adapters}", str(root)).encode()
    return client.request(recorded["method"], recorded["path"], content=content, headers=recorded["headers"])


@pytest.mark.parametrize("recorded", [r for r in RECORDED if r["name"] not in OURS_IS_CLEARER], ids=lambda r: r["name"])
def test_it_answers_as_vllm_does(recorded: dict[str, Any], answers: dict[str, httpx.Response]) -> None:
    ours = answers[recorded["name"]]
    assert (ours.status_code, ours.headers.get("content-type")) == (recorded["status"], recorded["content_type"])
    if "text" in recorded:
        assert ours.text == recorded["text"]
    elif "events" in recorded:
        *events, done, rest = ours.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        _same_shape([json.loads(event.removeprefix("data: ")) for event in events], recorded["events"], "events")
    elif ours.is_error:
        assert _without_paths(ours.json()) == recorded["answer"]
    else:
        _same_shape(ours.json(), recorded["answer"], "body")


@pytest.mark.parametrize("recorded", [r for r in RECORDED if r["name"] in OURS_IS_CLEARER], ids=lambda r: r["name"])
def test_a_mistake_of_the_caller_is_a_400_where_vllm_says_500(
    recorded: dict[str, Any], answers: dict[str, httpx.Response]
) -> None:
    ours = answers[recorded["name"]]
    assert (recorded["status"], ours.status_code) == (500, 400)
    error = ours.json()["error"]
    assert list(error) == list(recorded["answer"]["error"])
    assert (error["type"], error["code"]) == ("InvalidUserInput", 400)
    assert OURS_IS_CLEARER[recorded["name"]] in error["message"]


def test_every_answer_carries_a_request_id_and_the_callers_own_comes_back(answers: dict[str, httpx.Response]) -> None:
    assert len({answer.headers["x-request-id"] for answer in answers.values()}) == len(RECORDED)
    named = answers["37_chat_request_id"]
    assert (named.headers["x-request-id"], named.json()["id"]) == ("abc-123", "chatcmpl-abc-123")


def _same_shape(ours: Any, theirs: Any, where: str) -> None:
    assert _kind(ours) == _kind(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            _same_shape(ours[key], value, f"{where}.{key}")
            if key in COMPARED_VALUES:
                assert ours[key] == value, f"{where}.{key}"
    elif isinstance(theirs, list) and theirs and not isinstance(theirs[0], int):
        assert len(ours) == len(theirs), where
        for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            _same_shape(our, their, f"{where}[{i}]")


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _without_paths(body: Any) -> Any:
    """vLLM hides paths in its messages; ours, on the loopback interface, says which."""
    if "error" in body and "No adapter found for " in body["error"]["message"]:
        body["error"]["message"] = body["error"]["message"].partition("found for ")[0] + "found for <path>"
    return body
