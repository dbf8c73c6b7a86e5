"""The recorded exchanges with a real vLLM, and how two answers to one request are compared.

Compared: every key in its order with its kind of value, and the values in COMPARED_VALUES. Not compared: ids, times,
generated text, counts of tokens.
"""

import json
from pathlib import Path
from typing import Any

import httpx

RECORDED: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "recorded" / "model_server.jsonl").read_text().splitlines()
]
# vLLM answers 500 for these mistakes of the caller; ours says 400 and what is wrong.
OURS_IS_CLEARER = {
    "10_load_rank_too_high": "LoRA rank 32 is greater than max_lora_rank 16.",
    "47_load_bad_config_json": "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    "48_load_no_weights": "has no adapter_model.safetensors",
}
COMPARED_VALUES = {"finish_reason", "stop_reason", "object", "role", "index", "parent", "max_model_len", "model"}


def ask(client: httpx.Client, recorded: dict[str, Any], adapters: Path, model: str = "tiny") -> httpx.Response:
    """A recorded request anew, for adapters in that folder and the base under that name."""
    body = recorded["body"]
    if body is not None:
        body = body.replace("{adapters}", str(adapters)).replace('"tiny"', f'"{model}"').encode()
    headers = {"Content-Type": "application/json"} | recorded["headers"]
    return client.request(recorded["method"], recorded["path"], content=body, headers=headers)


def events_of(answer: httpx.Response) -> list[Any]:
    """The events of a stream; its framing must be right to the byte."""
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8", answer.text
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def same_shape(ours: Any, theirs: Any, where: str) -> None:
    assert _kind(ours) == _kind(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key, value in theirs.items():
            same_shape(ours[key], value, f"{where}.{key}")
            if key in COMPARED_VALUES:
                assert ours[key] == value, f"{where}.{key}"
    elif isinstance(theirs, list) and theirs and not isinstance(theirs[0], int):
        assert len(ours) == len(theirs), where
        for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            same_shape(our, their, f"{where}[{i}]")


def without_paths(body: Any) -> Any:
    """vLLM hides paths in its messages; ours, on the loopback interface, says which."""
    if "error" in body and "No adapter found for " in body["error"]["message"]:
        body["error"]["message"] = body["error"]["message"].partition("found for ")[0] + "found for <path>"
    return body


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
