"""The parent of the supervisor: it sees to it that nothing of the stack outlives the stack.

It is a subreaper, so whatever the supervisor or a server leaves behind becomes its child, however it was started. When
the supervisor ends, kill -9 included, the kernel asks each server to stop; what is still there after the grace is
killed. It holds the stack's lock until the last process has gone, so a new supervisor meets no old server.
When the warden itself is killed, the kernel tells the supervisor, which stops everything in order.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.native.processes import descendants, send

ALREADY_RUNS = 3
GRACE_SECONDS = 25.0
LOCK_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36


def main(lock_path: Path) -> int:
    handle = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o644)
    if not _locked_soon(handle):
        return ALREADY_RUNS
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = ["setpriv", "--pdeathsig=TERM", "--", sys.executable, "-m", "infra.native.supervisor"]
    supervisor = subprocess.Popen(command, pass_fds=(handle,), start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: send(supervisor.pid, signal.SIGTERM))
    status = supervisor.wait()
    _outlive_everything()
    return status if status >= 0 else 1


def _locked_soon(handle: int) -> bool:
    """`status` holds the lock for a moment when it asks who has it."""
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _outlive_everything() -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    while _has_children():
        if time.monotonic() > deadline:
            for pid in descendants(os.getpid()):
                send(pid, signal.SIGKILL)
        time.sleep(0.05)


def _has_children() -> bool:
    """Takes the status of what has ended on the way."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
