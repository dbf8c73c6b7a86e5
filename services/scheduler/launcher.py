"""Starting a job's child: the Launcher protocol, and the one that starts a local process.

A local child leads its own process group, steps back by its nice level, dies with the scheduler, and writes what it
prints into the job's log. Its `ref` (boot, pid namespace, pid, start time) lets a later worker end exactly that
process, never one that got the same pid since.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_POLL_SECONDS = 0.05


class Child(Protocol):
    """One running attempt. Used by one thread."""

    ref: str

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit status (negative: the signal that ended it), or None when it still runs after the timeout."""
        ...

    def stop(self, grace_seconds: float) -> None:
        """Ends it and all it started; asked first, killed after the grace. Harmless when it has ended."""
        ...


class Launcher(Protocol):
    def start(self, command: Sequence[str], log: Path) -> Child:
        """Starts the command; what it prints is appended to `log`. OSError when it cannot be started."""
        ...

    def end(self, ref: str) -> None:
        """Ends the child that another worker started, if it still runs; returns when it is gone."""
        ...


class LocalLauncher:
    def __init__(self, nice: int) -> None:
        self._nice = nice

    def start(self, command: Sequence[str], log: Path) -> "LocalChild":
        held = [sys.executable, "-m", "services.scheduler.leash", str(os.getpid()), str(self._nice), *command]
        with log.open("ab") as output:
            process = subprocess.Popen(
                held,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        return LocalChild(process)

    def end(self, ref: str) -> None:
        pid = _pid_of(ref)
        if pid is None:
            return
        _signal_group(pid, signal.SIGKILL)
        while _pid_of(ref) is not None:
            time.sleep(_POLL_SECONDS)


class LocalChild:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.ref = f"{_where()}/{process.pid}/{_start_time(process.pid)}"

    def wait(self, timeout_seconds: float) -> int | None:
        """Looks without reaping: the pid stays taken until the whole group was killed, so no stranger can get it."""
        if self._process.returncode is not None:
            return self._process.returncode
        deadline = time.monotonic() + timeout_seconds
        while not self._has_ended():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(_POLL_SECONDS, left))
        _signal_group(self._process.pid, signal.SIGKILL)  # whatever it started and left behind
        return self._process.wait()

    def stop(self, grace_seconds: float) -> None:
        if self._process.returncode is not None:
            return
        _signal_group(self._process.pid, signal.SIGTERM)
        if self.wait(grace_seconds) is None:
            _signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
        return


def _pid_of(ref: str) -> int | None:
    """The pid when this very process lives on this machine."""
    where, _, rest = ref.rpartition("/")
    place, _, pid = where.rpartition("/")
    if place != _where() or not pid.isdigit() or not rest or _start_time(int(pid)) != rest:
        return None
    return int(pid)


def _where() -> str:
    """This boot and this pid namespace; "" where /proc does not tell, and then start times are "" too."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks since boot; "" when there is no such process, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
