"""The tests in this folder run against real servers; `make test-real` runs them, `make test` never collects them.

`stack` is a stack of a test's own, to be stopped and killed; `servers` is one that all tests of a run share. A test
that stops one of its servers starts it again before it ends. vLLM, where a test needs it, serves the tiny base in
float32, `base`. A test that is skipped here has failed: it would look as if a real server had been tried.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.native.settings import StackSettings
from shared.processes import free_ports
from tests.real.kafka.broker import Broker
from tests.real.stack import RunningStack

collect_ignore_glob = [] if os.environ.get("RATCHET_TEST_REAL") else ["*"]  # folders too

ROOT = Path(__file__).parents[2]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped: {report.longrepr}"
    return report


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    with _stack_of_its_own() as running:
        yield running


@pytest.fixture(scope="session")
def servers() -> Iterator[RunningStack]:
    """`servers.need("kafka")` starts it unless it runs. RATCHET_STACK_DIR names a stack to use and leave running."""
    if os.environ.get("RATCHET_STACK_DIR"):
        yield RunningStack(StackSettings.load())
        return
    with _stack_of_its_own() as running:
        yield running


@pytest.fixture
def broker(servers: RunningStack) -> Iterator[Broker]:
    """The shared Kafka, under topics of the test's own."""
    broker = Broker(servers)
    yield broker
    broker.close()


@contextmanager
def _stack_of_its_own() -> Iterator[RunningStack]:
    """On free ports, in a folder that PostgreSQL's user may pass through, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="ratchet-stack-"))
    folder.chmod(0o755)
    ports = [name for name in StackSettings.model_fields if name.endswith("_port")]
    with pytest.MonkeyPatch.context() as environment:
        for name, port in zip(ports, free_ports(len(ports)), strict=True):
            environment.setenv(f"RATCHET_STACK_{name.upper()}", str(port))
        environment.setenv("RATCHET_STACK_DIR", str(folder))
        environment.setenv("RATCHET_STACK_VLLM_MODEL", str(ROOT / "training" / "tiny" / "base"))
        environment.setenv("RATCHET_STACK_VLLM_DTYPE", "float32")
        if not os.environ.get("RATCHET_STACK_SERVERS_DIR"):
            environment.setenv("RATCHET_STACK_SERVERS_DIR", str(ROOT / "data" / "stack" / "servers"))
        running = RunningStack(StackSettings.load())
    try:
        yield running
    finally:
        running.command("down")
        shutil.rmtree(folder)
