"""The scheduler as a process of its own: real database, real bus, real HTTP; killed and stopped in mid-work."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared import topics
from shared.artifacts import path_of, read_manifest
from shared.bus import Outgoing, open_bus
from shared.events import CandidateTrained, Event, ExampleCurated, JobFailed, JobStarted, decode, encode
from shared.processes import free_ports
from tests.databases import make_tables
from tests.services.scheduler.stage import CHILD, is_alive, until, write_snapshot

pytestmark = pytest.mark.slow

RATCHET_TOML = """
[models.tiny]
path = "builtin:tiny"

[workloads.triage]
base = "tiny"
trigger = { min_new_examples = 20, cooldown_minutes = 0 }
"""


@contextmanager
def annotation(folder: Path, examples: int) -> Iterator[str]:
    """Annotation's one call that the scheduler makes; its URL."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            snapshot = write_snapshot(folder / "snapshots", examples)
            facts = {"snapshot_id": snapshot.snapshot_id, "uri": snapshot.uri, "sha256": snapshot.sha256}
            body = json.dumps(facts | {"workload": "triage", "split": "train", "examples": examples}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Deployed:
    folder: Path
    annotation_url: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    script: Path = field(init=False)

    def __post_init__(self) -> None:
        self.script = self.folder / "script.json"
        self.bus_url = f"sqlite:///{self.folder / 'bus.db'}"
        (self.folder / "ratchet.toml").write_text(RATCHET_TOML)
        make_tables(f"sqlite:///{self.folder / 'ratchet.db'}")
        self.bus = open_bus(self.bus_url)
        self.bus.ensure_topics()

    def start(self, **settings: object) -> "Scheduler":
        (port,) = free_ports(1)
        own = {
            "RATCHET_CONFIG": self.folder / "ratchet.toml",
            "RATCHET_DATA_DIR": self.folder,
            "RATCHET_BUS_URL": self.bus_url,
            "RATCHET_ANNOTATION_URL": self.annotation_url,
            "RATCHET_SCHEDULER_PORT": port,
            "RATCHET_SCHEDULER_TRAIN_COMMAND": f"{sys.executable} {CHILD} {self.script}",
            "RATCHET_SCHEDULER_LEASE_SECONDS": 4,
            "RATCHET_SCHEDULER_HEARTBEAT_SECONDS": 0.3,
            "RATCHET_SCHEDULER_POLL_SECONDS": 0.1,
            "RATCHET_SCHEDULER_RETRY_SECONDS": 0.1,
            "RATCHET_SCHEDULER_TICK_SECONDS": 0.2,
            "RATCHET_SCHEDULER_STOP_GRACE_SECONDS": 1,
        }
        with (self.folder / "scheduler.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.scheduler"],
                env=os.environ | {name: str(value) for name, value in (own | settings).items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return Scheduler(process, f"http://127.0.0.1:{port}")

    def acts(self, *acts: str) -> None:
        self.script.write_text(json.dumps(acts))

    def pids(self) -> list[int]:
        file = self.script.with_name(self.script.name + ".pids")
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    def curate(self, count: int) -> None:
        events = [
            ExampleCurated(example_id=f"e{i}", correction_id=f"c{i}", workload="triage", split="train", group=f"g{i}")
            for i in range(count)
        ]
        self.bus.publish([Outgoing(topics.CURATION, "triage", encode(event, "annotation")) for event in events])

    def told(self, kind: type[Event]) -> list[Event]:
        """All events of this kind on ratchet.jobs, each once as consumers count them: by its id.

        Nothing is committed, so each call reads from the first.
        """
        consumer = self.bus.consumer("test-reader", [topics.JOBS])
        try:
            records = []
            while found := consumer.poll(200, 0.3):
                records += found
        finally:
            consumer.close()
        by_id = {envelope.id: event for envelope, event in (decode(record.value) for record in records)}
        return [event for event in by_id.values() if isinstance(event, kind)]

    def clear(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.bus.close()


@dataclass
class Scheduler:
    process: "subprocess.Popen[bytes]"
    url: str

    def ready(self) -> "Scheduler":
        until(self._answers, "readiness", seconds=120)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the scheduler ended"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    def train(self) -> str:
        answer = httpx.post(f"{self.url}/v1/jobs", json={"kind": "train", "workload": "triage"}, timeout=60)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/v1/jobs/{job_id}", timeout=60).json()
        return found

    def ends(self, job_id: str) -> dict[str, Any]:
        until(lambda: self.job(job_id)["state"] in ("done", "failed"), "the job's end")
        return self.job(job_id)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    with annotation(tmp_path, examples=30) as url:
        built = Deployed(tmp_path, url)
        yield built
        built.clear()


def test_curated_examples_become_a_candidate_by_themselves(deployed: Deployed) -> None:
    deployed.acts("work")
    scheduler = deployed.start().ready()
    deployed.curate(20)
    until(lambda: httpx.get(f"{scheduler.url}/v1/jobs?state=done", timeout=60).json()["jobs"], "a training")
    (trained,) = until(lambda: deployed.told(CandidateTrained), "the event")
    assert isinstance(trained, CandidateTrained)
    status = httpx.get(f"{scheduler.url}/v1/status", timeout=60).json()["workloads"]["triage"]
    assert (status["new_examples"], status["last_training"]["result"]["version"]) == (0, trained.version)
    assert status["last_training"]["trigger"] == "count"


def test_a_scheduler_killed_in_mid_work_is_followed_by_the_next_one(deployed: Deployed) -> None:
    deployed.acts("hang", "work slowly")
    killed = deployed.start().ready()
    job_id = killed.train()
    (orphan,) = until(deployed.pids, "the child")
    killed.process.kill()
    until(lambda: not is_alive(orphan), "the end of the orphan")
    heir = deployed.start().ready()
    done = heir.ends(job_id)
    assert (done["state"], done["attempts"]) == ("done", 2)
    assert read_manifest(path_of(done["result"]["run_uri"]))["resumed_from"] == 1
    until(lambda: deployed.told(CandidateTrained), "the event")
    heir.process.terminate()
    assert heir.process.wait(60) in (0, -signal.SIGTERM)
    assert len(deployed.told(CandidateTrained)) == 1


def test_two_schedulers_on_one_database_make_a_job_once(deployed: Deployed) -> None:
    deployed.acts("work slowly")
    first, second = deployed.start(), deployed.start()
    first.ready()
    second.ready()
    assert first.train() == second.train()
    assert first.ends(second.train())["attempts"] == 1
    assert len(deployed.pids()) == 1
    assert len(until(lambda: deployed.told(CandidateTrained), "the event")) == 1


def test_a_scheduler_that_was_stopped_and_wakes_again_changes_nothing(deployed: Deployed) -> None:
    deployed.acts("hang", "work")
    frozen = deployed.start().ready()
    job_id = frozen.train()
    (orphan,) = until(deployed.pids, "the child")
    until(lambda: frozen.job(job_id)["progress"], "a heartbeat that tells of the child")
    os.kill(frozen.process.pid, signal.SIGSTOP)
    heir = deployed.start().ready()
    assert heir.ends(job_id)["attempts"] == 2
    assert not is_alive(orphan)
    os.kill(frozen.process.pid, signal.SIGCONT)
    frozen.ready()
    assert frozen.job(job_id)["state"] == "done"
    assert len(until(lambda: deployed.told(CandidateTrained), "the event")) == 1
    assert deployed.told(JobFailed) == []


def test_sigterm_stops_the_child_and_the_job_goes_back_to_the_queue(deployed: Deployed) -> None:
    deployed.acts("hang", "work")
    stopped = deployed.start().ready()
    job_id = stopped.train()
    (child,) = until(deployed.pids, "the child")
    stopped.process.terminate()
    assert stopped.process.wait(60) in (0, -signal.SIGTERM)
    assert not is_alive(child)
    done = deployed.start().ready().ends(job_id)
    assert (done["state"], done["attempts"]) == ("done", 1)
    assert [e.attempt for e in deployed.told(JobStarted) if isinstance(e, JobStarted)] == [1, 1]


def test_a_lease_that_is_too_short_for_its_heartbeat_is_refused_at_the_start(deployed: Deployed) -> None:
    process = deployed.start(RATCHET_SCHEDULER_LEASE_SECONDS=1, RATCHET_SCHEDULER_HEARTBEAT_SECONDS=1).process
    assert process.wait(120) == 2
    assert "a lease should last at least three heartbeats" in (deployed.folder / "scheduler.log").read_text()
