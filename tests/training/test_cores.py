import os
import subprocess
import sys

import pytest

from training.cores import share_cores


def test_waiting_threads_sleep_unless_somebody_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("program", ["training.run", "training.evaluate"])
def test_a_program_imports_torch_only_when_it_is_needed(program: str) -> None:
    """torch reads the policy when it is imported; and a wrong flag should be answered at once."""
    check = f"import sys, {program}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
