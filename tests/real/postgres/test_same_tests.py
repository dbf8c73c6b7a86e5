"""The tests of everything that speaks to the database, on PostgreSQL: the very ones that `make test` runs on SQLite."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
AT_LEAST = 300
# A training takes its time and asks no more of the database than the others do.
LEFT_OUT = ["tests/services/scheduler/test_real_programs.py"]


FOLDERS = ["tests/shared", "tests/services/annotation", "tests/services/scheduler", "tests/services/promotion"]


@pytest.mark.timeout(900)
def test_what_holds_on_sqlite_holds_on_postgresql(servers: RunningStack) -> None:
    servers.need("postgres")
    command = [sys.executable, "-m", "pytest", *FOLDERS, "-m", "postgresql", "-rs", "--color=no"]
    command += [f"--ignore={path}" for path in LEFT_OUT]
    environment = {**os.environ, "RATCHET_TEST_DATABASE_URL": servers.addresses()["RATCHET_DATABASE_URL"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=880)
    said = done.stdout[-20_000:] + done.stderr[-2_000:]
    assert done.returncode == 0, said
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", said.splitlines()[-1])}
    assert counted.get("skipped", 0) == 0, said
    assert counted["passed"] >= AT_LEAST, said
