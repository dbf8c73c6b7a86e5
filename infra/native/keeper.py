"""One server's life: wait for what it needs, prepare, start, ask how it is, start again when it dies, stop.

A thread a server. The thread that starts a process is the one whose end the kernel reports to it (PR_SET_PDEATHSIG is
about threads), so it stays until its server has stopped.

Dies:    started again after 0.5, 1, 2 ... 30 s; a minute of health sets the pause back.
Silent:  a server that runs and stops answering is called unhealthy and left alone: a kill would make a stall a loss.
Refused: a wrong setting is FAILED, for ever; anything else is tried again.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from infra.native.processes import kill_session
from infra.native.server import NotHealthy, Server, as_user
from infra.native.state import Phase, ServerState
from shared.errors import Unavailable, Unusable
from shared.processes import port_is_free

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, GOOD_AFTER_SECONDS = 0.5, 30.0, 60.0
ASK_OFTEN_SECONDS, ASK_SECONDS = 0.3, 5.0
UNHEALTHY_AFTER = 3  # wrong answers in a row
LOG_MAX_BYTES = 20 * 2**20
_KEPT_FROM_OUTSIDE = ("PATH", "HOME", "TMPDIR", "JAVA_HOME")


class Keeper:
    def __init__(self, server: Server, log: Path, phase_of: Callable[[str], Phase | None]) -> None:
        self.server = server
        self.state = ServerState(server.name, server.port, Phase.WAITING, server.memory_mb)
        self._log = log
        self._phase_of = phase_of
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._good_since = 0.0
        self._thread = threading.Thread(target=self._live, name=server.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns at once; `stopped` says when it is done."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        return not self._thread.is_alive()

    def _live(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._have_needs():
                    continue
                try:
                    self._prepare()
                    self._run_once()
                except Unusable as error:
                    self._become(Phase.FAILED, detail=str(error), pid=None)
                    self._stopping.wait()
                except (Unavailable, OSError) as error:  # OSError: no room on the disk, a command that is missing
                    self._pause(str(error))
        except Exception as error:  # a bug must be seen in `status`, not only end a thread
            self._become(Phase.FAILED, detail=f"{type(error).__name__}: {error}", pid=None)
            raise
        finally:
            self._end_process()
            if self.state.phase is not Phase.FAILED:
                self._become(Phase.STOPPED, pid=None, detail="")

    def _have_needs(self) -> bool:
        missing = [name for name in self.server.needs if self._phase_of(name) is not Phase.HEALTHY]
        if missing:
            self._become(Phase.WAITING, detail=f"for {', '.join(missing)}")
            self._stopping.wait(0.2)
        return not missing

    def _prepare(self) -> None:
        self._become(Phase.PREPARING, detail="")
        for port in (self.server.port, *self.server.other_ports):
            if port and not port_is_free(port):
                variable = f"RATCHET_STACK_{self.server.name.upper().replace('-', '_')}_PORT"
                raise Unavailable(f"port {port} is in use by another program; set {variable} to a free one")
        self._keep_log_short()
        self.server.prepare(self._run_to_end)

    def _run_once(self) -> None:
        started = time.monotonic()
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(
                self._line(self.server.command, self.server.user),
                env=self._environment(self.server.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        self._become(Phase.STARTING, pid=process.pid, started_at=time.time(), healthy_after_seconds=None)
        self._good_since, wrong = 0.0, 0
        while not self._stopping.is_set():
            pause = ASK_SECONDS if self.state.phase is Phase.HEALTHY else ASK_OFTEN_SECONDS
            if self._ended_within(process, pause):
                self._died(process, started)
                return
            try:
                self.server.health()
            except NotHealthy as error:
                wrong += 1
                self._answered_wrongly(str(error), wrong, time.monotonic() - started)
            else:
                wrong = 0
                self._answered_well(time.monotonic() - started)

    def _ended_within(self, process: "subprocess.Popen[bytes]", seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > deadline or self._stopping.wait(0.2):
                return False
        return True

    def _answered_well(self, after_seconds: float) -> None:
        self._good_since = self._good_since or time.monotonic()
        first = self.state.healthy_after_seconds
        self._become(Phase.HEALTHY, detail="", healthy_after_seconds=after_seconds if first is None else first)
        if time.monotonic() - self._good_since > GOOD_AFTER_SECONDS:
            self._become(Phase.HEALTHY, failures=0)
        if self._log.stat().st_size > LOG_MAX_BYTES:
            self._keep_log_short()

    def _answered_wrongly(self, error: str, times: int, after_seconds: float) -> None:
        if self.state.healthy_after_seconds is not None:
            if times >= UNHEALTHY_AFTER:
                self._good_since = 0.0
                self._become(Phase.UNHEALTHY, detail=error)
        elif after_seconds > self.server.start_seconds:
            self._end_process()
            raise Unavailable(f"no right answer within {self.server.start_seconds:.0f} s of its start: {error}")
        else:
            self._become(Phase.STARTING, detail=error)

    def _died(self, process: "subprocess.Popen[bytes]", started: float) -> None:
        code, lived = process.returncode, time.monotonic() - started
        self._end_process()  # what it has left behind in its session
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        raise Unavailable(f"ended with {how} after {lived:.1f} s")

    def _pause(self, why: str) -> None:
        failures = self.state.failures + 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
        self._become(Phase.PAUSING, pid=None, failures=failures, deaths=self.state.deaths + 1, detail=why)
        self._note(f"[stack] {why}; again in {pause:.1f} s\n")
        self._stopping.wait(pause)

    def _end_process(self) -> None:
        """Asks it to stop, then makes it: it and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self.server.stop_signal)
            try:
                process.wait(self.server.stop_seconds)
            except subprocess.TimeoutExpired:
                self._note(f"[stack] still there {self.server.stop_seconds:.0f} s after the signal to stop: killed\n")
        kill_session(process.pid)
        process.wait()

    def _run_to_end(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str = "",
    ) -> str:
        with subprocess.Popen(
            self._line(command, user),
            env=self._environment(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        ) as process:
            said = process.communicate(stdin.encode())[0].decode("utf-8", "replace")
        self._note(said)
        if process.returncode != 0:
            raise Unavailable(f"`{Path(command[0]).name} ...` ended with {process.returncode}: {said.strip()[-400:]}")
        return said

    def _line(self, command: Sequence[str | Path], user: str | None) -> list[str]:
        """The kernel stops it when this supervisor dies; set after the change of user, which would clear it."""
        switch = as_user(user) or ["setpriv"]
        name = self.server.stop_signal.name.removeprefix("SIG")
        return [*switch, f"--pdeathsig={name}", "--", *map(str, command)]

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT_FROM_OUTSIDE if name in os.environ}
        return {"LC_ALL": "C.UTF-8", **kept, **own}

    def _note(self, text: str) -> None:
        """A full disk costs the line, not the server."""
        with suppress(OSError), self._log.open("a", encoding="utf-8") as log:
            log.write(text)

    def _keep_log_short(self) -> None:
        """The server appends, so its open file may be emptied under it; the lines of that moment are lost."""
        if self._log.exists() and self._log.stat().st_size > LOG_MAX_BYTES:
            self._log.with_suffix(".log.1").write_bytes(self._log.read_bytes())
            os.truncate(self._log, 0)

    def _become(self, phase: Phase, **changes: object) -> None:
        self.state = replace(self.state, phase=phase, **changes)  # type: ignore[arg-type]
