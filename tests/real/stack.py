"""A stack under test, driven by the commands that people use."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from infra.native.addresses import addresses
from infra.native.processes import descendants
from infra.native.server import Place
from infra.native.settings import StackSettings
from infra.native.state import Phase, ServerState, running


class RunningStack:
    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.place = Place.of(settings)

    def command(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """`ratchet stack ...`"""
        mine = {f"RATCHET_STACK_{name.upper()}": word for name, word in self.settings.as_words().items()}
        line = [sys.executable, "-m", "services.cli", "stack", *words]
        return subprocess.run(line, env={**os.environ, **mine, **settings}, capture_output=True, text=True, timeout=280)

    def need(self, *names: str) -> None:
        """Returns when these and what they need are healthy; nothing happens to those that are."""
        state = running(self.place.layout)
        healthy = {s.name for s in state.servers if s.phase is Phase.HEALTHY} if state else set()
        if not set(names) <= healthy:
            self.up("--only", ",".join(names))

    def addresses(self) -> dict[str, str]:
        """What points our services at the servers that run, as settings."""
        state = running(self.place.layout)
        assert state is not None, "the stack does not run"
        return addresses(self.place, [s.name for s in state.servers])

    def up(self, *words: str) -> float:
        """Seconds until all were healthy."""
        began = time.monotonic()
        done = self.command("up", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic() - began

    def servers(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.command("status", "--json").stdout)
        return {server["name"]: server for server in found["servers"]}

    def server(self, name: str) -> ServerState:
        """What the supervisor says of it now."""
        state = running(self.place.layout)
        assert state is not None, "the stack does not run"
        found = state.server(name)
        assert found is not None, f"{name} is not part of it"
        return found

    def supervisor(self) -> int:
        state = running(self.place.layout)
        assert state is not None, "the stack does not run"
        return state.supervisor_pid

    def family(self) -> list[int]:
        """Every process of the stack but the warden."""
        supervisor = self.supervisor()
        return [supervisor, *descendants(supervisor)]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
