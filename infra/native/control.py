"""Starting, joining and stopping the stack from outside its supervisor.

Twice:  `bring_up` while it runs adds what is missing and waits for it; two at once end up with one supervisor.
Killed: a supervisor that was killed is cleaned up behind before a new one starts.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from infra.native.install import Installer, Say
from infra.native.layout import Layout
from infra.native.processes import send
from infra.native.server import Place, Server
from infra.native.settings import StackSettings
from infra.native.state import Phase, ServerState, StackState, is_locked, read_wanted, running, write_wanted
from shared.errors import BadConfig, Unavailable

FAILED_AFTER = 3  # failures in a row, for `up` to give up on a server; the supervisor goes on trying
CLEANED_UP_SECONDS, STARTED_SECONDS, STOPPED_SECONDS = 60.0, 120.0, 120.0
_ROOT = Path(__file__).parents[2]


class NotUp(Unavailable):
    """Some servers did not become healthy; the text has the last lines of their logs."""


def install(place: Place, servers: Iterable[Server], say: Say) -> None:
    installer = Installer(place.layout.servers, say)
    for server in servers:
        server.install(installer)


def begin(place: Place, servers: Sequence[Server]) -> None:
    """The supervisor runs and knows of these servers, when this returns."""
    layout, names = place.layout, {s.name for s in servers}
    _wait(lambda: running(layout) is not None or not is_locked(layout), CLEANED_UP_SECONDS, "the old stack to end")
    state = running(layout)
    if state is None:
        write_wanted(layout.wanted, names)
        _launch(layout)
    else:
        _same_settings(state, place.settings)
        write_wanted(layout.wanted, names | set(read_wanted(layout.wanted)))
    _wait(lambda: _knows(layout, names), STARTED_SECONDS, f"the supervisor; see {layout.log('supervisor')}")


def wait_until_healthy(layout: Layout, servers: Sequence[Server], look: Callable[[StackState], None]) -> None:
    """Until each is healthy; NotUp as soon as one has failed, with what it said last."""
    deadline = time.monotonic() + sum(s.start_seconds for s in servers)
    while True:
        state = running(layout)
        if state is None:
            raise NotUp(f"the supervisor has ended: {tail(layout.log('supervisor'), 5)}")
        look(state)
        mine = [found for server in servers if (found := state.server(server.name))]
        failed = [s for s in mine if s.phase is Phase.FAILED or s.failures >= FAILED_AFTER]
        if time.monotonic() > deadline:
            failed = [s for s in mine if s.phase is not Phase.HEALTHY]
        if failed:
            raise NotUp("\n".join(_in_words(layout, s) for s in failed))
        if all(s.phase is Phase.HEALTHY for s in mine):
            return
        time.sleep(0.2)


def take_down(layout: Layout) -> bool:
    """Whether there was something to stop; returns when the last process has gone."""
    if not is_locked(layout):
        return False
    state = running(layout)
    if state is not None:
        send(state.supervisor_pid, signal.SIGTERM)
    try:
        _wait(lambda: not is_locked(layout), STOPPED_SECONDS, "the servers to stop")
    except Unavailable:
        if state is None:
            raise
        send(state.supervisor_pid, signal.SIGKILL)  # its parent then stops what is left
        _wait(lambda: not is_locked(layout), CLEANED_UP_SECONDS, "the servers to be killed")
    return True


def tail(log: Path, lines: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400 * lines))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(it has written nothing)"


def _launch(layout: Layout) -> None:
    """In a session of its own: closing the terminal does not stop the stack."""
    layout.state.unlink(missing_ok=True)
    path = f"{_ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    # Safe path: a grp.py in the folder where `up` was called is not Python's.
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    with layout.log("supervisor").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "infra.native.warden", str(layout.lock)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _same_settings(state: StackState, settings: StackSettings) -> None:
    words = settings.as_words()
    if differing := {name: word for name, word in words.items() if state.settings.get(name) != word}:
        told = [
            f"RATCHET_STACK_{n.upper()} is {state.settings.get(n)!r} there, not {w!r}" for n, w in differing.items()
        ]
        raise BadConfig(f"the stack runs with other settings: {'; '.join(told)}. `ratchet stack down` first")


def _knows(layout: Layout, names: set[str]) -> bool:
    state = running(layout)
    return state is not None and names <= {s.name for s in state.servers}


def _in_words(layout: Layout, server: ServerState) -> str:
    log = layout.log(server.name)
    said = "\n".join(f"    {line}" for line in tail(log, 12).splitlines())
    return f"{server.name} is {server.phase}: {server.detail}\n  the end of {log}:\n{said}"


def _wait(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
