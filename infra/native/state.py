"""What runs now: written by the supervisor, read by the command line. Reading it twice a second costs nothing.

A state that is there proves nothing by itself: `running` also asks for the lock.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from infra.native.layout import Layout


class Phase(StrEnum):
    WAITING = "waiting"  # for what it needs
    PREPARING = "preparing"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # it runs, and does not answer as it should
    PAUSING = "pausing"  # it died, and is started again in a moment
    FAILED = "failed"  # starting it again cannot help
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServerState:
    name: str
    port: int
    phase: Phase
    memory_max_mb: int = 0  # its share of the budget
    pid: int | None = None
    started_at: float | None = None  # seconds since 1970
    healthy_after_seconds: float | None = None  # from its start to its first right answer
    failures: int = 0  # in a row, since it was last healthy
    deaths: int = 0
    detail: str = ""  # what is wrong, or what it waits for


@dataclass(frozen=True, slots=True)
class StackState:
    supervisor_pid: int
    settings: dict[str, str]  # those it was started with
    servers: tuple[ServerState, ...]

    def server(self, name: str) -> ServerState | None:
        return next((s for s in self.servers if s.name == name), None)


def write_state(path: Path, state: StackState) -> None:
    write_whole(path, json.dumps(asdict(state), indent=1))


def read_state(path: Path) -> StackState | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        servers = tuple(ServerState(**{**s, "phase": Phase(s["phase"])}) for s in found["servers"])
        return StackState(found["supervisor_pid"], found["settings"], servers)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_wanted(path: Path, names: Iterable[str]) -> None:
    write_whole(path, json.dumps(sorted(names)))


def read_wanted(path: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError):
        return []


def running(layout: Layout) -> StackState | None:
    """The state of a stack whose supervisor lives; None where none does, or where one has only begun to."""
    state = read_state(layout.state)
    if state is None or not is_locked(layout) or not is_alive(state.supervisor_pid):
        return None
    return state


def is_locked(layout: Layout) -> bool:
    """Whether a supervisor, or what cleans up behind one, lives."""
    try:
        with layout.lock.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_alive(pid: int) -> bool:
    """A process that ended and that nobody has asked for its status yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def write_whole(path: Path, text: str) -> None:
    """A reader sees the old text or the new one, never half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, "utf-8")
    partial.replace(path)
