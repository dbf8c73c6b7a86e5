from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.scheduler.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, database: str) -> Iterator[Stage]:
    built = Stage(tmp_path)
    yield built
    built.engine.dispose()
