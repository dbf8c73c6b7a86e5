import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from services.scheduler.launcher import LocalLauncher
from tests.services.scheduler.stage import is_alive, until


def test_what_a_child_prints_is_kept_and_appended(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    for word in ("one", "two"):
        child = LocalLauncher(nice=0).start(["sh", "-c", f"echo {word}; echo {word} >&2; exit 7"], log)
        assert child.wait(30.0) == 7
    assert log.read_text().split() == ["one", "one", "two", "two"]


def test_a_child_leads_a_group_that_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "grandchild"
    child = LocalLauncher(nice=0).start(["sh", "-c", f"sleep 300 & echo $! > {file}; exit 0"], tmp_path / "log.txt")
    assert child.wait(30.0) == 0
    grandchild = int(file.read_text())
    until(lambda: not is_alive(grandchild), "the end of the grandchild")


def test_stopping_asks_the_whole_group_and_twice_is_harmless(tmp_path: Path) -> None:
    file = tmp_path / "grandchild"
    child = LocalLauncher(nice=0).start(["sh", "-c", f"sleep 300 & echo $! > {file}; wait"], tmp_path / "log.txt")
    grandchild = until(lambda: file.exists() and file.read_text().strip() and int(file.read_text()), "the grandchild")
    child.stop(30.0)
    child.stop(30.0)
    assert child.wait(0.0) == -signal.SIGTERM
    until(lambda: not is_alive(grandchild), "the end of the grandchild")


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from services.scheduler.launcher import LocalLauncher
        child = LocalLauncher(nice=0).start(["sleep", "300"], Path(sys.argv[1]) / "log.txt")
        print(child.ref.rsplit("/", 2)[1], flush=True)
        child.wait(300.0)
    """)
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    command = Path(f"/proc/{pid}/cmdline")
    until(lambda: command.read_bytes().startswith(b"sleep"), "the program behind the leash")
    parent.kill()
    parent.communicate()
    until(lambda: not is_alive(pid), "the end of the orphan")


def test_a_reference_ends_that_process_and_no_other(tmp_path: Path) -> None:
    launcher = LocalLauncher(nice=0)
    child = launcher.start(["sleep", "300"], tmp_path / "log.txt")
    place, pid, start = child.ref.rsplit("/", 2)
    for other in (f"{place}/{pid}/{int(start) + 1}", f"other-boot/x/{pid}/{start}", "", "nonsense", f"{place}//"):
        launcher.end(other)
    assert child.wait(0.1) is None
    launcher.end(child.ref)
    assert child.wait(30.0) == -signal.SIGKILL
    launcher.end(child.ref)


def test_a_program_that_does_not_exist_is_named_in_the_log(tmp_path: Path) -> None:
    child = LocalLauncher(nice=0).start(["/no/such/program"], tmp_path / "log.txt")
    assert child.wait(30.0) == 127
    assert "/no/such/program cannot be started: [Errno 2]" in (tmp_path / "log.txt").read_text()


def test_children_step_back_behind_the_services(tmp_path: Path) -> None:
    child = LocalLauncher(nice=3).start([sys.executable, "-c", "import os; print(os.nice(0))"], tmp_path / "log.txt")
    assert child.wait(30.0) == 0
    assert int((tmp_path / "log.txt").read_text()) == os.nice(0) + 3
