"""Families of processes, as Linux shows them below /proc."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    state: str  # one letter, Z for one that has ended
    parent: int
    session: int


def processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text("utf-8", "replace").rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue  # it ended while we looked
        yield Process(int(folder.name), fields[0], int(fields[1]), int(fields[3]))


def descendants(pid: int) -> list[int]:
    """The living children of a process, their children and so on; not the process itself."""
    children: dict[int, list[int]] = {}
    for process in processes():
        if process.state not in "ZX":
            children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill_session(session: int) -> None:
    """SIGKILL for every process of a session, until none is left to start another."""
    while living := [p.pid for p in processes() if p.session == session and p.state not in "ZX"]:
        for pid in living:
            send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def memory_mb(pid: int) -> float | None:
    """Proportional set size of a process and all below it: what they share is counted once. None: not ours to ask."""
    total = 0
    for each in (pid, *descendants(pid)):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text("utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            return None
        total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024
