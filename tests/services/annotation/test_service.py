"""`python -m services.annotation` as its own process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus import Outgoing, open_bus
from shared.consumer import ConsumerLoop
from shared.db import open_database
from shared.events import AnswerServed, ExampleCurated, SampleCorrected, encode
from shared.settings import SharedSettings
from shared.topics import ANSWERS, CURATION
from tests.databases import make_tables

TOML = """
[models.tiny]
path = "builtin:tiny"
[workloads.triage]
base = "tiny"
[workloads.triage.selection]
audit_share = 1.0
"""
SECONDS = 150.0  # imports alone are 2 s of CPU, and test machines are busy


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Service:
    def __init__(self, folder: Path) -> None:
        (folder / "ratchet.toml").write_text(TOML)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "RATCHET_CONFIG": str(folder / "ratchet.toml"),
            "RATCHET_DATA_DIR": str(folder / "data"),
            "RATCHET_ANNOTATION_PORT": str(self.port),
        }
        self.settings = SharedSettings(config=folder / "ratchet.toml", data_dir=folder / "data")
        make_tables(self.settings.database)
        self.log = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "services.annotation"]
        self.process = subprocess.Popen(command, env=self.environment, stderr=self.log.open("a"))
        self.until(lambda: httpx.get(f"{self.url}/readyz").status_code == 200)

    def until(self, holds: Any) -> Any:
        deadline = time.monotonic() + SECONDS
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            try:
                if found := holds():
                    return found
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=30)
        return self.process.returncode


@pytest.fixture
def service(tmp_path: Path) -> Any:
    whole = Service(tmp_path)
    yield whole
    if whole.process is not None and whole.process.poll() is None:
        whole.end(signal.SIGKILL)


@pytest.mark.slow
def test_the_service_goes_on_where_it_was_killed(service: Service, tmp_path: Path) -> None:
    bus = open_bus(service.settings.bus)
    bus.ensure_topics()

    def answer(n: int) -> Outgoing:
        messages = [{"role": "user", "content": f"Ticket {n}: what is wrong with {n:x}-{n * 7919:x}?"}]
        event = AnswerServed(answer_id=f"a{n:03d}", workload="triage", version="v", messages=messages, answer="yes")
        return Outgoing(ANSWERS, event.answer_id, encode(event, "gateway"))

    def stored() -> int:
        return int(httpx.get(f"{service.url}/v1/status").json()["workloads"]["triage"]["samples"])

    bus.publish([answer(n) for n in range(300)])
    service.start()
    service.until(lambda: stored() > 0)
    service.end(signal.SIGKILL)
    bus.publish([answer(n) for n in range(290, 400)])
    service.start()
    service.until(lambda: stored() == 400)
    item = service.until(lambda: httpx.get(f"{service.url}/v1/desk/next", params={"workload": "triage"}).json()["item"])
    verdict = {"verdict": "fix", "ideal": "no", "annotator": "ada"}
    path = f"{service.url}/v1/desk/items/{item['sample_id']}/verdict"
    assert httpx.post(path, json=verdict).status_code == 201
    assert httpx.post(path, json=verdict).status_code == 200
    assert facts_on_the_bus(service, tmp_path / "reader.db", 2) == [SampleCorrected, ExampleCurated]
    assert service.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    bus.close()


def facts_on_the_bus(service: Service, database: Path, count: int) -> list[type]:
    """What another service hears of the curation, each event once."""
    heard: list[type] = []
    make_tables(f"sqlite:///{database}")
    engine = open_database(f"sqlite:///{database}")
    bus = open_bus(service.settings.bus)
    loop = ConsumerLoop(
        service="reader",
        engine=engine,
        bus=bus,
        handlers={
            SampleCorrected: [lambda event, _s, _o: heard.append(type(event))],
            ExampleCurated: [lambda event, _s, _o: heard.append(type(event))],
        },
        listens_to=(CURATION,),
        on_crash=lambda error: None,
    )
    loop.start()
    service.until(lambda: len(heard) >= count)
    loop.stop()
    bus.close()
    return heard


@pytest.mark.slow
def test_a_wrong_configuration_is_a_sentence_and_status_2(tmp_path: Path) -> None:
    environment = {**os.environ, "RATCHET_CONFIG": str(tmp_path / "nowhere.toml"), "RATCHET_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "services.annotation"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "nowhere.toml does not exist" in done.stderr
    assert "Traceback" not in done.stderr
