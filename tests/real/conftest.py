"""The tests in this folder start real servers; `make test-real` runs them, `make test` never collects them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.native.settings import StackSettings
from shared.processes import free_ports
from tests.real.stack import RunningStack

collect_ignore_glob = [] if os.environ.get("RATCHET_TEST_REAL") else ["test_*.py"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStack]:
    """A stack on free ports in a folder that PostgreSQL's user may pass through, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="ratchet-stack-"))
    folder.chmod(0o755)
    ports = [name for name in StackSettings.model_fields if name.endswith("_port")]
    for name, port in zip(ports, free_ports(len(ports)), strict=True):
        monkeypatch.setenv(f"RATCHET_STACK_{name.upper()}", str(port))
    monkeypatch.setenv("RATCHET_STACK_DIR", str(folder))
    if not os.environ.get("RATCHET_STACK_SERVERS_DIR"):
        monkeypatch.setenv("RATCHET_STACK_SERVERS_DIR", str(ROOT / "data" / "stack" / "servers"))
    running = RunningStack(StackSettings.load())
    try:
        yield running
    finally:
        running.command("down")
        shutil.rmtree(folder)
