"""The scorer code: right answers pass, hostile ones are shut in. Needs a Linux that grants namespaces."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from shared import scorer_options
from shared.errors import Unusable
from training.examples import Example
from training.suites import box, code
from training.suites.score import Attempt, Score

TESTS = "assert add(1, 2) == 3\ndef test_negative():\n    assert add(-1, -1) == -2\n"
RIGHT = "def add(a, b):\n    return a + b\n"


def options(**given: Any) -> dict[str, Any]:
    return scorer_options.complete("code", {"timeout_seconds": 60, **given})


def score(answer: str, **given: Any) -> Score:
    return code.make(options(**given), None)(Attempt("", answer, metadata={"tests": TESTS}))


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (RIGHT, 2),
        (f"Here it is:\n```python\n{RIGHT}```\nDone.", 2),
        (f"```json\n{{}}\n```\n```\n{RIGHT}```", 2),
        (RIGHT.replace("a + b", "abs(a) + b"), 1),
        ("add = None", 0),
        ("def add(a, b) return", 0),
        ("", 0),
        ("import sys; sys.exit(0)", 0),
        ("import os; os._exit(0)", 0),
        ("print('line 1'); print('test_negative')", 0),
        (RIGHT.replace("return a + b", "raise SystemExit(0)"), 0),
    ],
)
def test_the_score_is_the_share_of_tests_that_passed(answer: str, passed: int) -> None:
    found = score(answer)
    assert found.score == passed / 2
    assert found.exact is (passed == 2)
    assert set(found.fields or {}) == {"line 1", "test_negative"}


def test_tests_stand_in_the_metadata_or_in_a_marked_block_of_the_prompt() -> None:
    asked = [{"role": "user", "content": f"Write add.\n```python tests\n{TESTS}```\n"}]
    assert code.tests_of({}, asked) == TESTS
    assert code.tests_of({"tests": "assert 1"}, asked) == "assert 1"
    assert code.make(options(), None)(Attempt("", RIGHT, asked)).exact


@pytest.mark.parametrize(
    ("metadata", "said"),
    [({}, "has no tests"), ({"tests": "x = 1"}, "neither an assert"), ({"tests": "assert ("}, "not Python")],
)
def test_an_item_whose_tests_cannot_run_is_named(metadata: dict[str, Any], said: str) -> None:
    messages = ({"role": "user", "content": "Write add."}, {"role": "assistant", "content": RIGHT})
    assert said in str(code.check_item(Example("i", "g", "all", messages, metadata), {}))


def inside(program: str, **given: Any) -> box.Ran:
    return box.run(program, "", box.limits(options(**given)))


def test_an_endless_loop_is_ended_by_the_clock() -> None:
    began = time.monotonic()
    assert inside("while True: pass", timeout_seconds=2).ended == "it took too long"
    assert time.monotonic() - began < 30


def test_an_endless_loop_is_ended_by_its_cpu_time() -> None:
    ran = inside("while True: pass", cpu_seconds=1)
    assert ran.ended == "by itself"
    assert ran.status != 0


def test_a_fork_bomb_has_few_processes_and_none_outlives_the_box() -> None:
    program = (
        "import os, time\nmade = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            os.setsid()\n"
        "            time.sleep(1000)\n        made += 1\nexcept OSError as error:\n    print(made, error.errno)\n"
    )
    before = boxes()
    ran = inside(program, processes=16)
    assert ran.output.split() == ["15", "11"]
    deadline = time.monotonic() + 20
    while boxes() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not boxes() - before


def boxes() -> set[str]:
    """Processes of any box, by the program they were given."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"made += 1" in (folder / "cmdline").read_bytes():
                found.add(folder.name)
        except OSError:
            continue
    return found


def test_endless_output_ends_the_box_and_fills_nothing() -> None:
    ran = inside("while True: print('x' * 100_000)")
    assert ran.ended == "it wrote more than 1048576 bytes"
    assert len(ran.output) <= 1 << 20


def test_the_box_has_no_environment_of_ours_and_no_process_to_read_it_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_SECRET", "hunter2")
    ran = inside("import os; print(sorted(os.environ), os.listdir('/tmp'), os.path.exists('/proc/1/environ'))")
    assert ran.output.strip() in ("['LC_CTYPE'] [] False", "[] [] False")


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("open('/usr/evil', 'w')", "Read-only file system"),
        ("open({outside!r}, 'a')", "No such file"),
        ("open({outside!r}).read()", "No such file"),
        ("import socket; socket.create_connection(('127.0.0.1', 80), 5)", "Network is unreachable"),
        ("x = 'a' * (1 << 31)", "MemoryError"),
        ("open('/tmp/a', 'w').write('x' * (17 << 20))", "File too large"),
        ("for i in range(20): open(f'/tmp/{{i}}', 'w').write('x' * (1 << 20))", "No space left on device"),
        ("import os; os.setuid(0)", "Operation not permitted"),
    ],
)
def test_what_the_box_forbids(program: str, error: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("ours")
    ran = inside(program.format(outside=str(outside)))
    if os.getuid() != 0 and "setuid" in program:
        error = ""  # the user inside is the user outside, in a namespace where nobody is root
    assert ran.status != 0
    assert error in ran.output
    assert outside.read_text() == "ours"


def test_where_the_kernel_refuses_nothing_runs_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A door that meets the same answer as in a container without namespaces."""
    door = tmp_path / "box_door.py"
    text = Path(box.__file__).with_name("box_door.py").read_text()
    door.write_text(text.replace("libc.unshare(flags)", "libc.unshare(-1)"))
    monkeypatch.setattr(box, "_DOOR", door)
    with pytest.raises(Unusable, match=r"the kernel refuses .*unshare.*allow_unisolated = true"):
        code.make(options(), None)
    found = score(RIGHT, allow_unisolated=True)
    assert found.exact
    assert (found.details or {})["isolated"] is False
