"""Every panel finds data in the Prometheus that has watched a real loop.

RATCHET_DRAW_DASHBOARDS=1 draws docs/dashboards anew from what was found.
"""

import os
from pathlib import Path

import pytest

from infra.grafana.__main__ import FOLDER
from tests.real.monitoring.drawing import draw
from tests.real.monitoring.panels import board_data
from tests.real.monitoring.watched_loop import WatchedLoop

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1300)]

DASHBOARDS = sorted(FOLDER.glob("*.json"))
PICTURES = Path(__file__).parents[3] / "docs" / "dashboards"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_every_panel_finds_data(turned: WatchedLoop, path: Path) -> None:
    board = board_data(path, turned.watching, turned.began, turned.ended)
    if os.environ.get("RATCHET_DRAW_DASHBOARDS"):
        draw(board, PICTURES / f"{path.stem}.png")
    assert {panel.title: panel.empty for panel in board.panels if panel.empty} == {}


def test_both_versions_are_marked_where_they_began_to_serve(turned: WatchedLoop) -> None:
    board = board_data(FOLDER / "loop.json", turned.watching, turned.began, turned.ended)
    base, trained = [version for _, version in sorted(board.versions)]
    assert base != trained == turned.version


def test_the_drawing_of_a_dashboard_is_a_small_picture(turned: WatchedLoop, tmp_path: Path) -> None:
    picture = tmp_path / "loop.png"
    draw(board_data(FOLDER / "loop.json", turned.watching, turned.began, turned.ended), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 5_000 < picture.stat().st_size < 200_000
