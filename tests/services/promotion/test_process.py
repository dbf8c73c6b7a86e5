"""`python -m services.promotion` as a process: it starts, survives kill -9 in mid-work, and ends cleanly."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.processes import free_ports
from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import WORKLOAD, seal_run, write_config
from tests.services.promotion.test_app import Whole, until


@contextmanager
def promotion(whole: Whole, port: int) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    settings = whole.shared
    environment = {
        **os.environ,
        "RATCHET_CONFIG": str(settings.config),
        "RATCHET_DATA_DIR": str(settings.data_dir),
        "RATCHET_UPSTREAM_URLS": settings.upstream_urls,
        "RATCHET_ANNOTATION_URL": settings.annotation_url,
        "RATCHET_SCHEDULER_URL": settings.scheduler_url,
        "RATCHET_PROMOTION_PORT": str(port),
        "RATCHET_PROMOTION_WORK_SECONDS": "0.05",
        "RATCHET_PROMOTION_RECONCILE_SECONDS": "0.1",
    }
    process = subprocess.Popen([sys.executable, "-m", "services.promotion"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            until(lambda: is_ready(client), seconds=60)
            yield process, client
    finally:
        process.kill()
        process.wait(10)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_killed_while_it_loads_an_adapter_it_goes_on_where_it_was(
    tmp_path: Path, servers: list[ModelServerDouble]
) -> None:
    whole = Whole(tmp_path, servers)
    event = seal_run(whole.artifacts, "job-1")
    whole.scheduler.scores[event.version] = (36, 198)
    port = free_ports(1)[0]
    try:
        servers[0].before_load.clear()
        with promotion(whole, port) as (process, client):
            whole.tell(event)
            until(lambda: ("load_lora_adapter", event.version) in servers[0].calls)
            assert client.get("/v1/plan").json()["plan_version"] == 1
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        servers[0].before_load.set()
        with promotion(whole, port) as (process, client):
            until(lambda: client.get("/v1/status").json()["workloads"][WORKLOAD]["champion"] == event.version)
            assert client.get("/v1/plan").json()["plan_version"] == 2
            assert client.get("/v1/status").json()["workloads"][WORKLOAD]["ledger"]["decisions"] == 1
            assert client.get("/v1/audit").json()["broken"] is None
            assert len(whole.scheduler.orders) == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        whole.close()


def test_a_wrong_setting_is_a_sentence_and_status_2(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "RATCHET_CONFIG": str(write_config(tmp_path)),
        "RATCHET_DATA_DIR": str(tmp_path / "data"),
        "RATCHET_PROMOTION_RECONCILE_SECONDS": "never",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.promotion"], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert b"RATCHET_PROMOTION_RECONCILE_SECONDS='never'" in done.stderr
    assert b"Traceback" not in done.stderr
