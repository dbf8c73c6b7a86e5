"""What a server and all its processes use, from /proc: CPU time and memory."""

import os
import signal
from pathlib import Path

from infra.native.processes import descendants, send

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Family:
    """A process and everything below it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def members(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    def cpu_seconds(self) -> dict[int, float]:
        """User and system time of each member, with that of its children that have ended."""
        return {pid: _cpu_seconds(pid) for pid in self.members()}

    def peak_mb(self) -> float:
        """Sum of each member's largest resident set since its start."""
        return sum(_peak_kb(pid) for pid in self.members()) / 1024

    def stop(self) -> None:
        """Until `go_on` it takes no CPU and answers nothing."""
        for pid in self.members():
            send(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in reversed(self.members()):
            send(pid, signal.SIGCONT)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK_SECONDS


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
