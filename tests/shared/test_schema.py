"""Migrations: what they make is what the code declares, both ways, and a database is never left half-way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from shared.db import open_database, read_only, writing_alone
from shared.errors import BadConfig, Unavailable
from shared.schema import BASE, LOCK, SHARED, Schema, as_sql, every_schema, migrate, require, standings, take_back
from tests.new_revision import missing

OWNERS = [schema.owner for schema in every_schema()]
ROOT = Path(__file__).parents[2]
ANNOTATION = ROOT / "services" / "annotation"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.fixture
def empty(empty_database: str) -> Iterator[Engine]:
    engine = open_database(empty_database)
    yield engine
    engine.dispose()


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tables(engine: Engine) -> list[str]:
    with read_only(engine).connect() as connection:
        return sorted(inspect(connection).get_table_names())


def made_without_revisions(engine: Engine) -> None:
    """As the programs before there were revisions made the tables: those of the first revisions, and no word of it."""
    migrate(engine)
    for schema in every_schema():
        take_back(engine, schema, schema.revisions()[0])
        execute(engine, f"DROP TABLE {schema.version_table}")


@pytest.mark.parametrize("owner", OWNERS)
def test_the_revisions_make_exactly_the_tables_that_the_code_declares(engine: Engine, owner: str) -> None:
    with read_only(engine).connect() as connection:
        script = missing(connection, owner)
    assert script.upgrade_ops is not None
    assert script.upgrade_ops.as_diffs() == [], f'.venv/bin/python -m tests.new_revision {owner} "what was changed"'


@pytest.mark.parametrize("schema", every_schema(), ids=OWNERS)
def test_revisions_are_numbered_one_after_the_other(schema: Schema) -> None:
    assert schema.revisions() == [f"{number:04}" for number in range(1, len(schema.revisions()) + 1)]
    assert [path.name[:4] for path in sorted(schema.folder.glob("*.py"))] == schema.revisions()


def test_down_to_the_beginning_and_up_again(empty: Engine) -> None:
    migrate(empty)
    for schema in every_schema()[::-1]:
        steps = take_back(empty, schema, BASE)
        assert [step.revision for step in steps] == schema.revisions()[::-1]
    assert tables(empty) == sorted(schema.version_table for schema in every_schema())
    assert inspect(empty).get_view_names() == []
    assert [step.owner for step in migrate(empty) if step.revision == "0001"] == OWNERS
    assert all(standing.current for standing in standings(empty))
    assert migrate(empty) == []


def test_rows_live_through_every_revision_down_to_the_first_and_up(empty: Engine) -> None:
    migrate(empty)
    execute(empty, "INSERT INTO offsets VALUES ('c', 't', 0, 7)", "INSERT INTO outbox VALUES (3, 's', 't', 'k', 'v')")
    take_back(empty, SHARED, "0001")
    migrate(empty)
    with read_only(empty).connect() as connection:
        assert connection.exec_driver_sql("SELECT next_offset FROM offsets").scalar() == 7
        assert connection.exec_driver_sql("SELECT id FROM outbox").scalar() == 3


def test_what_it_would_run_can_be_read_and_changes_nothing(empty: Engine) -> None:
    script = as_sql(empty)
    assert "CREATE TABLE samples" in script
    assert "CREATE VIEW train_examples" in script
    assert script.rstrip().endswith("COMMIT;")
    assert tables(empty) == []


def test_the_script_that_can_be_read_makes_the_same_tables_when_it_is_run(empty: Engine) -> None:
    body = as_sql(empty).replace("BEGIN;", "").replace("COMMIT;", "")
    lines = [line for line in body.splitlines() if not line.startswith("--")]
    execute(empty, *filter(str.strip, "\n".join(lines).split(";")))
    assert all(standing.current for standing in standings(empty))
    assert migrate(empty) == []


def test_tables_made_before_there_were_revisions_are_compared_and_taken_on(empty: Engine) -> None:
    made_without_revisions(empty)
    execute(empty, "INSERT INTO offsets VALUES ('c', 't', 0, 7)")
    steps = migrate(empty)
    assert [step.owner for step in steps if step.way == "adopt"] == OWNERS
    assert all(standing.current for standing in standings(empty))
    with read_only(empty).connect() as connection:
        assert connection.exec_driver_sql("SELECT next_offset FROM offsets").scalar() == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE corrections DROP COLUMN comment", "corrections.comment is missing"),
        ("ALTER TABLE corrections ADD COLUMN mood INTEGER", "corrections.mood is INTEGER and should be not there"),
        ("DROP TABLE feedback", "the table feedback is missing"),
        ("DROP INDEX examples_one_active", "examples has no unique index on workload, group_id, question"),
        ("DROP VIEW train_examples", "the table train_examples is missing"),
    ],
)
def test_tables_that_are_not_those_of_the_first_revision_are_left_as_they_are(
    empty: Engine, change: str, words: str
) -> None:
    made_without_revisions(empty)
    execute(empty, change)
    before = tables(empty)
    with pytest.raises(BadConfig, match=words):
        migrate(empty)
    assert tables(empty) == before


def test_a_service_refuses_tables_that_are_behind_and_says_what_to_do(empty: Engine) -> None:
    with pytest.raises(BadConfig, match=r"no revision of the tables of shared.*run `ratchet migrate`"):
        require(empty, ANNOTATION)
    migrate(empty, [SHARED])
    with pytest.raises(BadConfig, match="no revision of the tables of annotation"):
        require(empty, ANNOTATION)
    migrate(empty)
    require(empty, ANNOTATION)


def test_a_service_refuses_tables_that_a_newer_program_made_and_so_does_a_migration(engine: Engine) -> None:
    execute(engine, "UPDATE schema_of_annotation SET version_num = '9999'")
    try:
        for use in (lambda: require(engine, ANNOTATION), lambda: migrate(engine), lambda: as_sql(engine)):
            with pytest.raises(BadConfig, match=r"9999 of the tables of annotation.*a newer Ratchet"):
                use()
        require(engine, ROOT / "services" / "promotion")
    finally:
        newest = Schema.of(ANNOTATION).revisions()[-1]
        execute(engine, f"UPDATE schema_of_annotation SET version_num = '{newest}'")


def test_going_down_to_what_was_never_applied_is_refused(engine: Engine) -> None:
    with pytest.raises(BadConfig, match="cannot go down to '0815'; this database has base, 0001"):
        take_back(engine, SHARED, "0815")


def test_two_migrations_at_once_wait_for_each_other(empty_database: str) -> None:
    engines = [open_database(empty_database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = sorted(len(steps) for steps in pool.map(migrate, engines))
    assert done[:3] == [0, 0, 0]
    assert done[3] == sum(len(schema.revisions()) for schema in every_schema())
    for engine in engines:
        engine.dispose()


def test_a_migration_that_waits_too_long_says_so(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.BUSY_TIMEOUT_SECONDS", 0.05)
    first, second = open_database(empty_database), open_database(empty_database)
    with pytest.raises(Unavailable, match="lock"), writing_alone(first, LOCK):
        migrate(second)
    first.dispose()
    second.dispose()


SLOW_REVISION = """
import os, sys
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.execute("CREATE TABLE first_half (a INTEGER)")
    op.execute("INSERT INTO first_half VALUES (1)")
    if os.environ.get("STOP_HALFWAY"):
        print("halfway", flush=True)
        sys.stdin.read()
    op.execute("CREATE TABLE second_half (b INTEGER)")


def downgrade():
    pass
"""
PROGRAM = """
import sys
from pathlib import Path
from shared.db import open_database
from shared.schema import Schema, migrate
migrate(open_database(sys.argv[1]), [Schema("half", Path(sys.argv[2]))])
"""


def test_a_migration_that_is_killed_half_way_has_changed_nothing_and_the_next_one_does_it(
    empty_database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_two_halves.py").write_text(SLOW_REVISION)
    command = [sys.executable, "-c", PROGRAM, empty_database, str(folder)]
    environment = {**os.environ, "STOP_HALFWAY": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as halfway:
        assert halfway.stdout is not None
        assert halfway.stdout.readline() == b"halfway\n"
        halfway.send_signal(signal.SIGKILL)
    engine = open_database(empty_database)
    assert tables(engine) == []
    assert [step.revision for step in migrate(engine, [Schema("half", folder)])] == ["0001"]
    assert tables(engine) == ["first_half", "schema_of_half", "second_half"]
    with read_only(engine).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM first_half").scalar() == 1
    engine.dispose()
