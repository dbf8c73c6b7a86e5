"""One vLLM for all tests of this folder: `vllm`, with no adapter loaded when a file of tests begins."""

from pathlib import Path

import httpx
import pytest

from tests.contracts.model_server_contract import Server
from tests.real.stack import RunningStack
from tests.real.vllm.runs import train


@pytest.fixture(scope="session")
def running_vllm(servers: RunningStack) -> Server:
    assert servers.settings.vllm_dtype == "float32", "set RATCHET_STACK_VLLM_DTYPE=float32 for the stack under test"
    servers.need("vllm")
    return Server(servers.addresses()["RATCHET_UPSTREAM_URLS"], servers.settings.vllm_served_name)


@pytest.fixture(scope="module")
def vllm(running_vllm: Server) -> Server:
    unload_all(running_vllm)
    return running_vllm


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a real training on 80 tickets."""
    return train(tmp_path_factory.mktemp("training"), range(1000, 1080))


def unload_all(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for card in client.get("/v1/models").json()["data"]:
            if card["parent"]:
                client.post("/v1/unload_lora_adapter", json={"lora_name": card["id"]}).raise_for_status()
