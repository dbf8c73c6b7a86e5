"""A whole deployment for a test: `ratchet up` as people start it, on free ports, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from services.cli.demo.scenario import WORKLOAD, environment, write_scenario
from shared.settings import SharedSettings

SERVICES = ("gateway", "model_server", "annotation", "scheduler", "promotion")


def until(holds: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """What `holds` returns once it is true; an error of a service that is just being restarted counts as not yet."""
    deadline = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except (httpx.HTTPError, KeyError, psutil.Error) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s; last error: {last!r}")


class Deployment:
    def __init__(self, folder: Path, changes: dict[str, str], more_environment: dict[str, str]) -> None:
        write_scenario(folder)
        self.folder = folder
        config = folder / "ratchet.toml"
        text = config.read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        config.write_text(text)
        self.environment = {**environment(folder), **more_environment}
        self.settings = SharedSettings(
            **{k.removeprefix("RATCHET_").lower(): v for k, v in self.environment.items() if k.startswith("RATCHET_")}
        )
        self.http = httpx.Client(timeout=60)
        self.log = (folder / "up.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        self.start()
        self.until_ready()

    def start(self) -> None:
        command = [sys.executable, "-m", "services.cli", "up"]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def until_ready(self) -> None:
        for service in SERVICES:
            until(lambda s=service: self.is_ready(s), f"{service} is ready; its log: {self.folder / 'up.log'}")

    def is_ready(self, service: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "up.log").read_text()[-3000:]
        return self.http.get(f"{self.settings.url_of(service)}/readyz").status_code == 200

    def pid_of(self, service: str) -> int:
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            if f"services.{service}" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                return child.pid
        raise KeyError(service)

    def kill(self, service: str) -> None:
        """kill -9, and back when the supervisor has started it again and it is ready."""
        pid = until(lambda: self.pid_of(service), f"{service} runs")
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid_of(service) != pid, f"{service} is started again")
        until(lambda: self.is_ready(service), f"{service} is ready again")

    def kill_all(self) -> None:
        """kill -9 of the supervisor; its services end with it."""
        assert self.process is not None
        services = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _gone, alive = psutil.wait_procs(services, timeout=30)
        assert not alive, alive

    def get(self, service: str, path: str) -> Any:
        return self.http.get(f"{self.settings.url_of(service)}{path}").raise_for_status().json()

    def post(self, service: str, path: str, body: Any) -> Any:
        return self.http.post(f"{self.settings.url_of(service)}{path}", json=body).raise_for_status().json()

    def store(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("annotation", "/v1/status")["workloads"][WORKLOAD]
        return found

    def jobs(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("scheduler", f"/v1/jobs?workload={WORKLOAD}&kind={kind}")["jobs"]
        return found

    def models(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("promotion", f"/v1/models?workload={WORKLOAD}")["models"]
        return found

    def events(self, topic: str) -> list[dict[str, Any]]:
        """Every envelope of a topic that the bus still holds."""
        from shared.bus import open_bus

        bus = open_bus(self.settings.bus)
        try:
            return [json.loads(record.value) for record in bus.history(topic)]
        finally:
            bus.close()

    def down(self) -> None:
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)
        self.log.close()


@contextmanager
def deployment(folder: Path, changes: dict[str, str] | None = None, **more: str) -> Iterator[Deployment]:
    running = Deployment(folder, changes or {}, more)
    try:
        running.up()
        yield running
    finally:
        running.down()
