from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import Stage


@pytest.fixture
def servers() -> Iterator[list[ModelServerDouble]]:
    doubles = [ModelServerDouble(), ModelServerDouble()]
    yield doubles
    for double in doubles:
        double.before_load.set()
        double.stop()


@pytest.fixture
def stage(tmp_path: Path, database: str, servers: list[ModelServerDouble]) -> Iterator[Stage]:
    made = Stage(tmp_path, [server.url for server in servers])
    yield made
    made.end()
