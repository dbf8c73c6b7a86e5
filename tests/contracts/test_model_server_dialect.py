"""What a real vLLM server answered, request by request, and what ours answers to the same requests."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contracts.dialect import OURS_IS_CLEARER, RECORDED, ask, events_of, same_shape, without_paths
from tests.services.model_server.bases import write_adapter, write_base
from tests.services.model_server.http_server import serving_http


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
        yield {r["name"]: ask(client, r, root) for r in RECORDED}


@pytest.mark.parametrize("recorded", [r for r in RECORDED if r["name"] not in OURS_IS_CLEARER], ids=lambda r: r["name"])
def test_it_answers_as_vllm_does(recorded: dict[str, Any], answers: dict[str, httpx.Response]) -> None:
    ours = answers[recorded["name"]]
    assert (ours.status_code, ours.headers.get("content-type")) == (recorded["status"], recorded["content_type"])
    if "text" in recorded:
        assert ours.text == recorded["text"]
    elif "events" in recorded:
        same_shape(events_of(ours), recorded["events"], "events")
    elif ours.is_error:
        assert without_paths(ours.json()) == recorded["answer"]
    else:
        same_shape(ours.json(), recorded["answer"], "body")


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
