import os
from collections.abc import Iterator

import pytest

from infra.native.catalog import chosen
from infra.native.control import install
from infra.native.server import Place
from infra.native.settings import StackSettings
from tests.real.monitoring.watched_loop import LARGER, Size, WatchedLoop, watched_loop


@pytest.fixture(scope="session")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Place.of(StackSettings(dir=tmp_path_factory.mktemp("stack")))
    install(place, chosen(place, only=["prometheus", "alertmanager"]), print)


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory, _installed: None) -> Iterator[WatchedLoop]:
    """A loop that drift has turned once; it still runs, and Prometheus with it."""
    size = LARGER if os.environ.get("RATCHET_DRAW_DASHBOARDS") else Size()
    with watched_loop(tmp_path_factory.mktemp("watched"), size) as watched:
        watched.turn()
        yield watched
