"""The embedded model server and vLLM, the same base and the same trained adapter in float32: the same answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contracts.dialect import OURS_IS_CLEARER, RECORDED, ask, events_of, same_shape, without_paths
from tests.contracts.model_server_contract import CHAT, LINEAR, TINY, Server, content, load
from tests.real.vllm.conftest import unload_all
from tests.real.vllm.runs import conversation
from tests.services.model_server.bases import write_adapter
from tests.services.model_server.http_server import serving_http
from training.tiny.house import ticket

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

TICKETS = range(200)
AT_ONCE = 8
LEAST_SAME = 0.99


@pytest.fixture(scope="module")
def embedded() -> Iterator[Server]:
    with serving_http("base", TINY, max_model_len=256, dtype="float32") as (url, _serving):
        yield Server(url, "base")


def test_base_and_trained_adapter_answer_200_tickets_alike(vllm: Server, embedded: Server, trained: Path) -> None:
    said = {}
    for server in (embedded, vllm):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            load(client, "support-triage@5a3e", trained / "adapter").raise_for_status()
        for model in (server.base, "support-triage@5a3e"):
            said[server.url, model] = _answers(server, model)
    for model in (vllm.base, "support-triage@5a3e"):
        pairs = list(zip(said[embedded.url, model], said[vllm.url, model], strict=True))
        same = sum(ours == theirs for ours, theirs in pairs) / len(pairs)
        right = sum(ours == ticket(seed).answer for seed, (ours, _) in zip(TICKETS, pairs, strict=True)) / len(pairs)
        print(f"\n{model}: {same:.1%} of {len(pairs)} answers identical; {right:.1%} as the expert would", flush=True)
        assert same >= LEAST_SAME
    assert right > 0.2  # the base has none right; two nonsenses alike would prove little
    assert said[vllm.url, vllm.base] != said[vllm.url, "support-triage@5a3e"]


def test_both_answer_every_recorded_request_alike(vllm: Server, embedded: Server, tmp_path: Path) -> None:
    for name, rank in (("ad8", 8), ("ad8b", 8), ("ad32", 32), ("badcfg", 8), ("noweights", 8)):
        write_adapter(tmp_path / f"lora_{name}", TINY, rank=rank, seed=len(name), target_modules=LINEAR)
    (tmp_path / "lora_badcfg" / "adapter_config.json").write_text("{not json")
    (tmp_path / "lora_noweights" / "adapter_model.safetensors").unlink()
    for server in (embedded, vllm):
        unload_all(server)
    with (
        httpx.Client(base_url=embedded.url, timeout=60) as ours,
        httpx.Client(base_url=vllm.url, timeout=60) as theirs,
    ):
        for recorded in RECORDED:
            answers = [ask(client, _without_an_end(recorded), tmp_path, "base") for client in (ours, theirs)]
            _are_alike(recorded["name"], *answers)


def _without_an_end(recorded: dict[str, Any]) -> dict[str, Any]:
    """What is drawn at random is as long as asked for; where the draws fall is each server's own."""
    body = recorded["body"]
    if body is None or '"temperature":1,' not in body:
        return recorded
    return recorded | {"body": body.replace('"temperature":1,', '"temperature":1,"ignore_eos":true,')}


def _are_alike(name: str, ours: httpx.Response, theirs: httpx.Response) -> None:
    if name in OURS_IS_CLEARER:
        assert (ours.status_code, theirs.status_code) == (400, 500), name
        return
    heads = [(answer.status_code, answer.headers.get("content-type")) for answer in (ours, theirs)]
    assert heads[0] == heads[1], name
    if heads[0][1] is None:
        assert ours.text == theirs.text, name
    elif "event-stream" in heads[0][1]:
        same_shape(events_of(ours), events_of(theirs), name)
    elif ours.is_error:
        _refuse_alike(name, without_paths(ours.json()), without_paths(theirs.json()))
    else:
        same_shape(ours.json(), theirs.json(), name)


def _refuse_alike(name: str, ours: Any, theirs: Any) -> None:
    if "error" not in theirs or theirs["error"]["param"] is not None:
        assert ours == theirs, name
        return
    their, our = theirs["error"], ours["error"]  # ours may say more
    assert (list(our), our["type"], our["code"]) == (list(their), their["type"], their["code"]), name
    assert their["message"] in our["message"], name


def _answers(server: Server, model: str) -> list[str]:
    # No kept connections: vLLM closes one after 5 s, which on a busy machine meets the next request.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=server.url, timeout=120, limits=limits) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_answer, repeat(client), repeat(model), TICKETS))


def _answer(client: httpx.Client, model: str, seed: int) -> str:
    body = {"model": model, "messages": conversation(seed), "temperature": 0, "max_tokens": 96}
    return content(client.post(CHAT, json=body))
