"""Promotion and gateway on one real vLLM: adapters come, serve, go and are refused, and no request notices."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import psutil
import pytest

from shared.artifacts import path_of
from shared.events import CandidateTrained
from tests.contracts.model_server_contract import CHAT, UNLOAD, Server, content, load
from tests.loop.deployment import Deployment, until
from tests.real.vllm.runs import another_version, conversation
from tests.real.vllm.swapping import Clients, adapters_of, held, promote, ratchet_up, register, roll_back, serving

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

VERSIONS, PROMOTIONS, CLIENTS = 6, 20, 8
KEPT_SECONDS = 3.0  # what nobody needs goes soon


@pytest.fixture(scope="module")
def running(vllm: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    more = {"RATCHET_PROMOTION_UNLOAD_AFTER_SECONDS": str(KEPT_SECONDS)}
    with ratchet_up(tmp_path_factory.mktemp("swap"), [vllm.url], **more) as running:
        yield running


@pytest.fixture(scope="module")
def versions(running: Deployment, trained: Path) -> Sequence[CandidateTrained]:
    made = [
        another_version(trained, running.settings.artifacts, f"job-{n}", scale=1 - 0.02 * n) for n in range(VERSIONS)
    ]
    register(running, made)
    return made


def test_up_starts_no_model_server_of_its_own_where_others_are_named(running: Deployment, vllm: Server) -> None:
    assert running.process is not None
    commands = [" ".join(p.cmdline()) for p in psutil.Process(running.process.pid).children(recursive=True)]
    assert any("services.gateway" in command for command in commands)
    assert not any("services.model_server" in command for command in commands)
    (replica,) = until(lambda: running.get("promotion", "/v1/status")["replicas"], "promotion has looked")
    assert replica["url"] == vllm.url


def test_no_request_fails_while_20_promotions_happen_under_8_clients(
    running: Deployment, vllm: Server, versions: Sequence[CandidateTrained]
) -> None:
    """Every answer is the one that its version gives when it is asked alone."""
    names = [event.version for event in versions]
    done = 0
    with Clients(running.settings.url_of("gateway"), CLIENTS).asking() as clients:
        while done < PROMOTIONS:
            name = names[done % VERSIONS]
            before = clients.by_version()[name]
            answer = promote(running, name) if done % 5 else roll_back_or_promote(running, name, done)
            assert answer.status_code == 200, answer.text
            done += 1
            until(lambda n=name, b=before: clients.by_version()[n] > b or clients.failures, f"{name} answers")
    print(f"\n{done} promotions, {len(clients.answers)} answers, {len(clients.failures)} failures", flush=True)
    assert clients.failures == []
    assert set(names) <= set(clients.by_version())
    _are_their_versions_own(clients, vllm, versions)


def roll_back_or_promote(running: Deployment, name: str, done: int) -> httpx.Response:
    """Every fifth change is a rollback to a version that has served, where there is one."""
    return roll_back(running, to=name) if done >= VERSIONS else promote(running, name)


def _are_their_versions_own(clients: Clients, vllm: Server, versions: Sequence[CandidateTrained]) -> None:
    """Each adapter is loaded once more under a name that promotion does not know, and asked the same, one by one."""
    folders = {event.version: path_of(event.run_uri) / "adapter" for event in versions}
    whole = [answer for answer in clients.answers if answer[0] in folders and answer[2]]
    asked = sorted({(version, seed) for version, seed, _ in whole})
    with httpx.Client(base_url=vllm.url, timeout=60) as client:
        for version, folder in folders.items():
            load(client, f"alone-{version}", folder).raise_for_status()
        expected = {pair: content(_ask(client, f"alone-{pair[0]}", pair[1])) for pair in asked}
        for version in folders:
            client.post(UNLOAD, json={"lora_name": f"alone-{version}"}).raise_for_status()
    print(f"{len(whole)} of them compared with {len(expected)} asked alone", flush=True)
    assert len({text for _, text in expected.items()}) > 1
    assert [text for _, _, text in whole] == [expected[version, seed] for version, seed, _ in whole]


def _ask(client: httpx.Client, model: str, seed: int) -> httpx.Response:
    body = {"model": model, "messages": conversation(seed), "temperature": 0, "max_tokens": 80}
    return client.post(CHAT, json=body)


def test_what_nobody_needs_is_unloaded_and_champion_and_predecessor_stay(
    running: Deployment, vllm: Server, versions: Sequence[CandidateTrained]
) -> None:
    first, second = versions[0].version, versions[1].version
    for version in (first, second):
        assert promote(running, version).status_code == 200
    until(lambda: held(vllm) == {first, second} == adapters_of(running, vllm.url), "only those two are held")


def test_what_a_gateway_still_routes_to_comes_back_when_somebody_unloads_it(
    running: Deployment, vllm: Server, versions: Sequence[CandidateTrained]
) -> None:
    version = versions[2].version
    assert promote(running, version).status_code == 200
    until(lambda: serving(running, version), "the gateway serves it")
    httpx.post(vllm.url + UNLOAD, json={"lora_name": version}).raise_for_status()
    with Clients(running.settings.url_of("gateway"), 2).asking() as clients:
        until(lambda: len(clients.answers) >= 10, "it answers again")
    assert set(clients.by_version()) == {version}  # in its place nobody answered
    assert all("promotion loads it again within seconds" in failure for failure in clients.failures)


def test_a_rank_too_high_is_refused_in_words_and_the_champion_stays(
    running: Deployment, vllm: Server, trained: Path, versions: Sequence[CandidateTrained]
) -> None:
    big = another_version(trained, running.settings.artifacts, "job-big", scale=1, r=32, lora_alpha=64)
    register(running, [big])
    refused = promote(running, big.version)
    assert refused.status_code == 422
    assert "LoRA rank 32 is greater than max_lora_rank 16" in refused.json()["detail"]
    assert "train with a smaller r" in refused.json()["detail"]
    assert not serving(running, big.version)
    assert big.version not in adapters_of(running, vllm.url)


def test_an_adapter_that_is_gone_is_refused_in_words_and_the_champion_stays(
    running: Deployment, trained: Path, versions: Sequence[CandidateTrained]
) -> None:
    lost = another_version(trained, running.settings.artifacts, "job-lost", scale=0.5)
    register(running, [lost])
    (path_of(lost.run_uri) / "adapter" / "adapter_model.safetensors").unlink()
    refused = promote(running, lost.version)
    assert refused.status_code == 422
    assert "adapter_model.safetensors" in refused.json()["detail"]
    assert not serving(running, lost.version)
