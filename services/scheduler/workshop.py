"""Where attempts are made: what every one of them needs, chosen once in app.py."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from services.scheduler.jobs import Claim
from services.scheduler.launcher import Launcher
from services.scheduler.orders import TrainOrder
from services.scheduler.settings import SchedulerSettings


@dataclass(frozen=True, slots=True)
class Workshop:
    engine: Engine
    launcher: Launcher
    settings: SchedulerSettings
    artifacts: Path
    job_folders: Path
    committed: Callable[[], None] = lambda: None  # called after events were written
    clock: Callable[[], float] = time.time
    stopping: threading.Event = field(default_factory=threading.Event)

    def output_of(self, claim: Claim) -> Path:
        folder = "runs" if isinstance(claim.order, TrainOrder) else "evaluations"
        return self.artifacts / folder / claim.job_id

    def folder_of(self, claim: Claim) -> Path:
        """The job's own folder: log, metrics, schema. It outlives the job."""
        return self.job_folders / claim.job_id

    def metrics_of(self, claim: Claim) -> Path:
        return self.folder_of(claim) / "metrics.jsonl"

    def log_of(self, claim: Claim) -> Path:
        return self.folder_of(claim) / "log.txt"
