"""What all tests share: a database of their own, on each kind there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import databases

settings.register_profile("any machine", deadline=None)  # a time limit on one example fails on a busy machine
settings.load_profile("any machine")

# Without a server the PostgreSQL half is not collected: tests/real/postgres collects it.
KINDS = ["sqlite", *([pytest.param("postgresql", marks=pytest.mark.postgresql)] if databases.SERVER else [])]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test's own, with every table."""
    with databases.running_on(request.param) as mine:
        yield mine.of_folder(tmp_path)


@pytest.fixture(params=KINDS)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of one of this test's own, without any table."""
    with databases.running_on(request.param) as mine:
        yield mine.empty(tmp_path)
