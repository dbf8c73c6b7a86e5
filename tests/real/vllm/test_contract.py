"""vLLM keeps the contract that the embedded model server keeps (tests/contracts/test_model_server.py)."""

import pytest

from tests.contracts.model_server_contract import ModelServerContract, Server

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(vllm: Server) -> Server:
    return vllm


class TestVllm(ModelServerContract):
    pass
