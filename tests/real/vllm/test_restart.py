"""A vLLM that is killed under load while another replica of the same base serves on: nobody has to do anything."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.events import CandidateTrained
from tests.contracts.model_server_contract import TINY, Server
from tests.loop.deployment import Deployment, until
from tests.real.stack import RunningStack
from tests.real.vllm.runs import another_version
from tests.real.vllm.swapping import Clients, held, promote, ratchet_up, register, serving
from tests.services.model_server.http_server import serving_http

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 8


@pytest.fixture(scope="module")
def embedded() -> Iterator[Server]:
    with serving_http("base", TINY, max_model_len=256, dtype="float32") as (url, _serving):
        yield Server(url, "base")


@pytest.fixture(scope="module")
def running(vllm: Server, embedded: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with ratchet_up(tmp_path_factory.mktemp("restart"), [vllm.url, embedded.url]) as running:
        yield running


@pytest.fixture(scope="module")
def versions(running: Deployment, trained: Path) -> Sequence[CandidateTrained]:
    made = [another_version(trained, running.settings.artifacts, f"job-{n}", scale=1 - 0.02 * n) for n in range(2)]
    register(running, made)
    return made


def test_every_replica_named_in_upstream_urls_holds_what_serves(
    running: Deployment, vllm: Server, embedded: Server, versions: Sequence[CandidateTrained]
) -> None:
    first, second = (event.version for event in versions)
    for version in (first, second):
        assert promote(running, version).status_code == 200
    for server in (vllm, embedded):
        until(lambda s=server: held(s) == {first, second}, "both replicas hold both")
    until(lambda: serving(running, second), "the gateway serves the second")


def test_a_vllm_that_is_killed_under_load_gets_its_adapters_back_by_itself(
    servers: RunningStack, running: Deployment, vllm: Server, embedded: Server, versions: Sequence[CandidateTrained]
) -> None:
    """What it was answering when it was killed is lost, and said to be; nothing else is."""
    first, second = (event.version for event in versions)
    with Clients(running.settings.url_of("gateway"), CLIENTS).asking() as clients:
        until(lambda: len(clients.answers) >= 40, "clients are answered")
        killed = servers.server("vllm").pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        at_death = len(clients.answers)
        until(lambda: len(clients.answers) >= at_death + 40, "the other replica answers alone")
        until(lambda: servers.server("vllm").pid not in (None, killed), "vLLM is started again")
        servers.need("vllm")
        until(lambda: held(vllm) == {first, second}, "its adapters are back")
        came_back = len(clients.answers)
        until(lambda: len(clients.answers) >= came_back + 40, "both answer again")
    print(f"\n{len(clients.answers)} answers, {len(clients.failures)} lost with the process", flush=True)
    assert set(clients.by_version()) == {second}
    assert len(clients.failures) <= CLIENTS, clients.failures
    assert all("502" in failure or "broke off" in failure for failure in clients.failures), clients.failures
