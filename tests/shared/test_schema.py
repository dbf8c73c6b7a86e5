"""Migrations: what they make is what the code declares, both ways, and a database is never left half-way."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect

from shared.db import open_database, read_only
from shared.schema import BASE, every_schema, migrate, standings, take_back
from tests.new_revision import missing

OWNERS = [schema.owner for schema in every_schema()]


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("owner", OWNERS)
def test_the_revisions_make_exactly_the_tables_that_the_code_declares(engine: Engine, owner: str) -> None:
    with read_only(engine).connect() as connection:
        script = missing(connection, owner)
    assert script.upgrade_ops is not None
    assert script.upgrade_ops.as_diffs() == [], f'.venv/bin/python -m tests.new_revision {owner} "what was changed"'


def test_down_to_the_beginning_and_up_again(engine: Engine) -> None:
    for schema in every_schema()[::-1]:
        steps = take_back(engine, schema, BASE)
        assert [step.revision for step in steps] == schema.revisions()[::-1]
    left = inspect(engine)
    assert sorted(left.get_table_names()) == sorted(schema.version_table for schema in every_schema())
    assert left.get_view_names() == []
    assert [step.owner for step in migrate(engine) if step.revision == "0001"] == OWNERS
    assert all(standing.current for standing in standings(engine))
