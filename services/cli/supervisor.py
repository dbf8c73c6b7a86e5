"""`ratchet up`: one supervisor, one process per service, and the order in which they stop.

A service that dies is started again after 0.5, 1, 2 ... 30 s; one that stayed up a minute starts from 0.5 again. A
service that ends with status 2 found its configuration wrong: everything stops, since starting it again cannot help.
SIGTERM or SIGINT stops all services cleanly (20 s, then SIGKILL). When the supervisor itself is killed with SIGKILL
the kernel sends its services SIGTERM, so none is left behind. A lock on the data folder refuses a second supervisor.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from shared.errors import BadConfig
from shared.limits import PRIVATE
from shared.processes import SUPERVISED

CONFIG_IS_WRONG = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, HEALTHY_AFTER_SECONDS = 0.5, 30.0, 60.0
STOP_SECONDS = 20.0

# Stopped in this order: the door first, so that nothing new comes in while the rest finishes.
SERVICES = ("gateway", "scheduler", "promotion", "annotation", "model_server")

Say = Callable[[str, str], None]  # service, line


def pause_before_restart(deaths_in_a_row: int) -> float:
    """0.5, 1, 2 ... seconds, 30 at most."""
    return float(min(FIRST_PAUSE_SECONDS * 2 ** max(deaths_in_a_row - 1, 0), LONGEST_PAUSE_SECONDS))


@dataclass
class Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths_in_a_row: int = 0
    start_at: float = 0.0  # monotonic; when it is due to start
    readers: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    def __init__(self, names: Sequence[str], environment: Mapping[str, str], say: Say) -> None:
        # Safe path: a file such as queue.py in the folder where somebody types `ratchet up` is not our queue.
        ours = {SUPERVISED: str(os.getpid()), "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
        self._environment = {**environment, **ours}
        self._say = say
        self._children = [Child(n, (sys.executable, "-m", f"services.{n}")) for n in names]
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Until `stop` or a wrong configuration; the exit status for the supervisor."""
        status = 0
        try:
            while not self._stopping.is_set():
                for child in self._children:
                    if self._tend(child) == CONFIG_IS_WRONG:
                        self._say(child.name, "its configuration is wrong (see above); everything stops")
                        status = CONFIG_IS_WRONG
                        self._stopping.set()
                        break
                self._stopping.wait(0.1)
        finally:
            self._stop_all()
        return status

    def _tend(self, child: Child) -> int | None:
        """Starts a child that is due, notices one that died; the status of one that must not be started again."""
        if child.process is None:
            if time.monotonic() >= child.start_at:
                self._start(child)
            return None
        code = child.process.poll()
        if code is None:
            return None
        child.process = None
        if code == CONFIG_IS_WRONG:
            return code
        lived = time.monotonic() - child.started_at
        child.deaths_in_a_row = 1 if lived > HEALTHY_AFTER_SECONDS else child.deaths_in_a_row + 1
        pause = pause_before_restart(child.deaths_in_a_row)
        child.start_at = time.monotonic() + pause
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        self._say(child.name, f"ended with {how} after {lived:.1f} s; starting again in {pause:.1f} s")
        return None

    def _start(self, child: Child) -> None:
        # Its own session: Ctrl-C in a terminal reaches the supervisor alone, which then stops all in order.
        child.process = subprocess.Popen(
            child.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started_at = time.monotonic()
        assert child.process.stdout is not None
        reader = threading.Thread(target=self._relay, args=(child.name, child.process.stdout), daemon=True)
        reader.start()
        child.readers.append(reader)
        self._say(child.name, f"started, process {child.process.pid}")

    def _relay(self, name: str, stream: IO[bytes]) -> None:
        for line in stream:
            self._say(name, line.decode("utf-8", "replace").rstrip())

    def _stop_all(self) -> None:
        """One after the other, in the order given; together they have STOP_SECONDS."""
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children:
            if child.process is None or child.process.poll() is not None:
                continue
            child.process.terminate()
            try:
                child.process.wait(max(0.5, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(child.name, "did not stop in time; killed")
                child.process.kill()
                child.process.wait()
        for child in self._children:
            for reader in child.readers:
                reader.join(timeout=2)


def lock_data_folder(data_dir: Path) -> IO[str]:
    """Held while the returned file is open; BadConfig when another supervisor holds it."""
    data_dir.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    lock = (data_dir / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        other = lock.read().strip() or "unknown"
        lock.close()
        raise BadConfig(
            f"another `ratchet up` (process {other}) runs on {data_dir}; stop it, or set RATCHET_DATA_DIR"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
