"""The embedded model server keeps the contract; tests/real/vllm asks the same of a real vLLM."""

from collections.abc import Iterator

import pytest

from tests.contracts.model_server_contract import TINY, ModelServerContract, Server
from tests.services.model_server.http_server import serving_http


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_http("base", TINY, max_model_len=256) as (url, _serving):
        yield Server(url, "base")


class TestEmbedded(ModelServerContract):
    pass
