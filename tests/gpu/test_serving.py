"""The embedded model server on a GPU: the adapter that was trained there answers as evaluation says it does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from shared.processes import free_ports
from tests.gpu.conftest import ROOT
from tests.services.model_server.test_process import until_ready
from tests.training.conftest import house_row
from training.tiny.house import ticket

VERSION = "support-triage@0123456789abcdef"
TICKETS = range(20_000, 20_064)
TOML = '[models.base]\npath = "builtin:tiny"\n[workloads.support-triage]\nbase = "base"\n'


@pytest.fixture(scope="module")
def server(candidate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("server") / "ratchet.toml"
    config.write_text(TOML)
    (port,) = free_ports(1)
    settings = {"RATCHET_CONFIG": str(config), "RATCHET_MODEL_SERVER_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.model_server"],
        cwd=ROOT, env={**os.environ, **settings, "RATCHET_MODEL_SERVER_DEVICE": "cuda"},
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        until_ready(process, url)
        loaded = httpx.post(
            f"{url}/v1/load_lora_adapter", json={"lora_name": VERSION, "lora_path": str(candidate / "adapter")}
        )
        assert loaded.status_code == 200, loaded.text
        yield url
    finally:
        process.kill()
        process.wait()


def answer(url: str, model: str, seed: int) -> str:
    messages = house_row(seed)["messages"]
    assert isinstance(messages, list)
    body = {"model": model, "messages": messages[:2], "temperature": 0, "max_tokens": 120}
    said = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert said.status_code == 200, said.text
    text: str = said.json()["choices"][0]["message"]["content"]
    return text


def test_the_adapter_answers_fresh_tickets_in_one_batch_with_the_base(server: str) -> None:
    asked = [(model, seed) for seed in TICKETS for model in (VERSION, "base")]
    with ThreadPoolExecutor(32) as pool:
        said = list(pool.map(lambda one: answer(server, *one), asked))
    right = {
        model: sum(text == ticket(seed).answer for (who, seed), text in zip(asked, said, strict=True) if who == model)
        for model in (VERSION, "base")
    }
    print(f"\nexact of {len(TICKETS)}: {right}")
    assert right[VERSION] >= 0.85 * len(TICKETS)
    assert right["base"] <= 0.3 * len(TICKETS)
