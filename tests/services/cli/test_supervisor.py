import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.cli.supervisor import Supervisor, lock_data_folder, pause_before_restart
from shared.errors import BadConfig


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Running:
    """A supervisor over small real processes, in a thread."""

    def __init__(self, folder: Path, **scripts: str) -> None:
        self.lines: list[tuple[str, str]] = []
        self.status: int | None = None
        self.supervisor = Supervisor(
            list(scripts), dict(os.environ), lambda name, line: self.lines.append((name, line))
        )
        for child, (name, script) in zip(self.supervisor._children, scripts.items(), strict=True):
            path = folder / f"{name}.py"
            path.write_text(script)
            child.command = (sys.executable, "-S", str(path))
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.status = self.supervisor.run()

    def said(self, text: str) -> int:
        return sum(text in line for _, line in list(self.lines))

    def stop(self) -> int | None:
        self.supervisor.stop()
        self.thread.join(30)
        return self.status


FOREVER = "import time, signal\nprint('working')\nsignal.pause()\n"


def test_a_service_that_dies_is_started_again(tmp_path: Path) -> None:
    running = Running(tmp_path, short="raise SystemExit(7)\n", long=FOREVER)
    until(lambda: running.said("started, process") >= 3 and running.said("working") == 1)
    assert running.stop() == 0
    assert running.said("ended with status 7") >= 1


def test_a_service_killed_by_a_signal_is_named_with_it(tmp_path: Path) -> None:
    running = Running(tmp_path, long=FOREVER)
    until(lambda: running.said("working") == 1)
    child = running.supervisor._children[0].process
    assert child is not None
    child.kill()
    until(lambda: running.said("working") == 2)
    assert running.said("signal SIGKILL") == 1
    running.stop()


def test_a_wrong_configuration_stops_everything(tmp_path: Path) -> None:
    running = Running(tmp_path, wrong="import sys\nprint('port is a word')\nsys.exit(2)\n", long=FOREVER)
    running.thread.join(20)
    assert running.status == 2
    assert running.said("its configuration is wrong") == 1


def test_the_pause_before_a_restart_doubles_up_to_half_a_minute() -> None:
    assert [pause_before_restart(n) for n in (1, 2, 3, 4, 20)] == [0.5, 1.0, 2.0, 4.0, 30.0]


def test_a_second_supervisor_on_one_data_folder_is_refused(tmp_path: Path) -> None:
    with lock_data_folder(tmp_path), pytest.raises(BadConfig, match=str(os.getpid())):
        lock_data_folder(tmp_path)
    lock_data_folder(tmp_path).close()


def test_a_data_folder_that_is_made_is_private_and_one_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    lock_data_folder(tmp_path / "new" / "data").close()
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o755)
    lock_data_folder(tmp_path / "mine").close()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755


def test_no_service_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    script = f"""
import os, sys
from services.cli.supervisor import Supervisor
supervisor = Supervisor(["x"], dict(os.environ), lambda name, line: print(line, flush=True))
supervisor._children[0].command = (sys.executable, "-c", {ORPHAN!r})
supervisor.run()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("serving"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    parent.stdout.close()


ORPHAN = """
import os, signal
from shared.processes import obey_supervisor
obey_supervisor()
print("serving", os.getpid(), flush=True)
signal.pause()
"""


def test_a_file_in_the_working_folder_is_not_taken_for_a_module_of_the_services(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('taken for the standard library')")
    running = Running(tmp_path, reader="import queue, signal\nprint('working')\nsignal.pause()\n")
    until(lambda: running.said("working") == 1)
    running.stop()
