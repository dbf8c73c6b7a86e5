"""A box for code nobody has read: a child process without network, files, environment or time of its own.

Linux only. Inside: own user, network, mount, process and IPC namespaces; a root that holds Python's library read-only
and an empty /tmp of limited size in memory; limits of CPU, memory, file size and processes; no environment. When it
ends or runs out of time, everything it started ends with it. Where the kernel refuses one of these, nothing runs
(`refusal` says why), unless the caller asks for `isolated=False`, which keeps the limits alone.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_OUTPUT_BYTES = 1 << 20

_DOOR = Path(__file__).with_name("box_door.py")
RUNNER = Path(__file__).with_name("code_runner.py")
PROGRAMS = (_DOOR, RUNNER)


@dataclass(frozen=True, slots=True)
class Limits:
    timeout_seconds: float
    cpu_seconds: int
    memory_mib: int  # of address space, for each process
    file_mib: int  # of one file, and of all together where isolated
    processes: int
    isolated: bool


@dataclass(frozen=True, slots=True)
class Ran:
    output: str
    status: int | None
    ended: str  # "by itself", or why it was ended
    seconds: float


def limits(options: Mapping[str, Any]) -> Limits:
    return Limits(
        float(options["timeout_seconds"]),
        options["cpu_seconds"],
        options["memory_mib"],
        options["file_mib"],
        options["processes"],
        not options["allow_unisolated"],
    )


def refusal(within: Limits) -> str | None:
    """Why no code can be run here, in a sentence; None when it can."""
    if not sys.platform.startswith("linux"):
        return "the scorer code runs on Linux only; evaluate there, or choose another scorer"
    ran = run("print('ready')", "", within)
    if ran.status == 0 and ran.output.strip() == "ready":
        return None
    return (
        f"the scorer code cannot lock its child process in here ({ran.output.strip()[-300:] or ran.ended}). Evaluate "
        "where the kernel allows namespaces (not in a container that forbids them), or set allow_unisolated = true "
        "in scorer_options: then models' code runs with limits only, as this user, with network and files"
    )


def run(program: str, given: str, within: Limits) -> Ran:
    """program: Python source; given: its standard input."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ratchet-box-") as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(given.encode("utf-8", "replace"))
        stdin.seek(0)
        told = json.dumps(asdict(within) | {"root": folder, "prefix": sys.base_prefix, "program": program})
        process = subprocess.Popen(
            [getattr(sys, "_base_executable", sys.executable), "-I", "-S", str(_DOOR), told],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            output, ended = _read(process, began + within.timeout_seconds)
            status = process.wait() if ended == "by itself" else None
        finally:
            _end(process)
    return Ran(output.decode("utf-8", "replace"), status, ended, round(time.monotonic() - began, 3))


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, str]:
    assert process.stdout is not None
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return output, "by itself"
            output += chunk
            if len(output) > MOST_OUTPUT_BYTES:
                return output[:MOST_OUTPUT_BYTES], f"it wrote more than {MOST_OUTPUT_BYTES} bytes"
    return output, "it took too long"


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
