"""What the tests of the scheduler stand on: a deployment, snapshots on disk, scripted children, and a clock to turn."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlmodel import col, select

from services.scheduler.jobs import Asked
from services.scheduler.launcher import LocalLauncher
from services.scheduler.orders import ScoredVersion
from services.scheduler.requests import Intake, request_evaluation, request_training
from services.scheduler.runner import Runner
from services.scheduler.settings import SchedulerSettings
from services.scheduler.snapshots import Snapshot
from services.scheduler.tables import JobRow
from services.scheduler.ticks import Ticker
from services.scheduler.workshop import Workshop
from shared import artifacts
from shared.db import OutboxRow, open_database, transaction
from shared.events import Event, decode
from shared.workloads import Deployment
from tests.databases import of_folder

BY_HAND = Asked("hand", "Ada", "to see it work")
BY_COUNT = Asked("count", "trigger", "50 new examples")
T = TypeVar("T")
CHILD = Path(__file__).with_name("child.py")


def until(look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """What `look` sees once it is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return seen


def deployment(**trigger: Any) -> Deployment:
    triage = {"base": "tiny", "preset": "default", "trigger": {"min_new_examples": 50} | trigger}
    return Deployment.model_validate({"models": {"tiny": {"path": "builtin:tiny"}}, "workloads": {"triage": triage}})


def write_snapshot(folder: Path, examples: int, split: str = "train", workload: str = "triage") -> Snapshot:
    """A sealed snapshot of the examples e0 ... e(n-1)."""
    ids = [f"e{number}" for number in range(examples)]
    name = f"{split}-{examples}"
    facts = {"snapshot_id": name, "workload": workload, "split": split, "examples": examples, "example_ids": ids}
    with artifacts.writing(folder / name, "snapshot", facts) as draft:
        (draft / "examples.jsonl").write_text("\n".join(json.dumps({"id": i}) for i in ids))
    sha256 = artifacts.sha256_of(folder / name / "examples.jsonl")
    return Snapshot(name, artifacts.uri_of(folder / name), sha256, examples, tuple(ids))


@dataclass
class Stage:
    """A scheduler without its process: the same parts, a clock of its own, children that follow a script."""

    folder: Path
    deployment: Deployment = field(default_factory=deployment)
    examples: int = 60  # in annotation's next snapshot
    now: float = 1_800_000_000.0
    real_time: bool = False
    snapshots_taken: int = 0

    def __post_init__(self) -> None:
        self.engine: Engine = open_database(of_folder(self.folder), "scheduler")
        self.script = self.folder / "script.json"
        self.intake = Intake(
            engine=self.engine,
            deployment=self.deployment,
            presets={"default": "d" * 64, "careless": "c" * 64},
            training_snapshot=self._snapshot,
            clock=self.clock,
        )

    def clock(self) -> float:
        return time.time() if self.real_time else self.now

    def _snapshot(self, _workload: str) -> Snapshot:
        self.snapshots_taken += 1
        return write_snapshot(self.folder / "snapshots", self.examples)

    def ticker(self) -> Ticker:
        def crash(error: BaseException) -> None:
            raise error

        return Ticker(self.intake, 60.0, crash)

    def train(self, asked: Asked = BY_HAND, preset: str | None = None) -> tuple[JobRow, bool]:
        return request_training(self.intake, "triage", preset, asked)

    def evaluate(self, *versions: ScoredVersion) -> tuple[JobRow, bool]:
        holdout = write_snapshot(self.folder / "snapshots", 30, "holdout")
        chosen = versions or (ScoredVersion(version="triage@base-00000000"),)
        return request_evaluation(self.intake, "triage", chosen, holdout.uri, BY_HAND)

    def job(self, job_id: str) -> JobRow:
        with transaction(self.engine) as session:
            return session.get_one(JobRow, job_id)

    def events(self, kind: type[Event] | None = None) -> list[Event]:
        """What was written to the outbox so far, oldest first."""
        with transaction(self.engine) as session:
            rows = session.exec(select(OutboxRow).order_by(col(OutboxRow.id))).all()
        decoded = [decode(row.value)[1] for row in rows]
        return [event for event in decoded if kind is None or isinstance(event, kind)]

    def acts(self, *acts: str) -> None:
        """What the child does in its first attempt, in the second, and so on; the last goes on for ever."""
        self.script.write_text(json.dumps(acts))

    def pids(self) -> list[int]:
        """Of the children started so far."""
        file = self.script.with_name(self.script.name + ".pids")
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []

    def workshop(self, **settings: Any) -> Workshop:
        command = shlex.join([sys.executable, str(CHILD), str(self.script)])
        quick: dict[str, Any] = {
            "lease_seconds": 4.0,
            "heartbeat_seconds": 0.3,
            "poll_seconds": 0.05,
            "retry_seconds": 0.05,
            "resources_retry_seconds": 0.1,
            "stop_grace_seconds": 1.0,
            "train_command": command,
            "evaluate_command": command,
        }
        return Workshop(
            engine=self.engine,
            launcher=LocalLauncher(nice=1),
            settings=SchedulerSettings(**quick | settings),
            artifacts=self.folder / "artifacts",
            job_folders=self.folder / "jobs",
            clock=time.time,
        )

    @contextmanager
    def running(self, **settings: Any) -> Iterator[Runner]:
        """A runner at work; nothing it started outlives the block."""
        crashes: list[BaseException] = []
        runner = Runner(self.workshop(**settings), crashes.append)
        runner.start()
        try:
            yield runner
        finally:
            runner.stop()
        assert crashes == []

    def ends(self, job_id: str, seconds: float = 60.0) -> JobRow:
        """The job once it is done or failed."""
        until(lambda: self.job(job_id).state in ("done", "failed"), f"the end of {job_id}", seconds)
        return self.job(job_id)


def is_alive(pid: int) -> bool:
    """A zombie that nobody waits for does no harm and counts as dead."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return False
