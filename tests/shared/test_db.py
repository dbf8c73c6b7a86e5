"""The database: writers wait for each other, readers for nobody, and an outage is told as one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import JSON, Column, Engine, Integer, MetaData, Table, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel import SQLModel, select

from shared.db import InboxRow, OffsetRow, OutboxRow, insert_once, open_database, put, reading, transaction
from shared.errors import BadConfig, Unavailable, Unusable
from shared.processes import free_ports
from tests.databases import make_tables


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = open_database(database, "tester")
    yield engine
    engine.dispose()


def names(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return sorted(session.exec(select(InboxRow.event_id)))


def test_an_error_rolls_back_the_whole_transaction(engine: Engine) -> None:
    with pytest.raises(KeyError), transaction(engine) as session:
        raise KeyError(str(insert_once(session, InboxRow(consumer="c", event_id="e"))))
    assert names(engine) == []


def test_writers_that_read_first_wait_for_each_other(engine: Engine) -> None:
    """Deferred transactions would fail here: both read, then both want to write."""
    with transaction(engine) as session:
        put(session, OffsetRow(consumer="c", topic="t", partition=0, next_offset=0))

    def increment(_: int) -> None:
        with transaction(engine) as session:
            row = session.get_one(OffsetRow, ("c", "t", 0))
            row.next_offset += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(40)))
    with reading(engine) as session:
        assert session.get_one(OffsetRow, ("c", "t", 0)).next_offset == 40


def test_reading_does_not_wait_for_a_writer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction(engine) as session:
        insert_once(session, InboxRow(consumer="c", event_id="e"))
        found: list[list[str]] = []
        reader = threading.Thread(target=lambda: found.append(names(engine)))
        reader.start()
        reader.join(5)
        assert found == [[]]  # it saw the state before, while the writer was still at it
    assert names(engine) == ["e"]


def test_what_is_written_while_reading_is_rolled_back(engine: Engine) -> None:
    with reading(engine) as session:
        insert_once(session, InboxRow(consumer="c", event_id="e"))
    assert names(engine) == []


def test_rows_read_stay_usable_afterwards(engine: Engine) -> None:
    with transaction(engine) as session:
        put(session, OffsetRow(consumer="c", topic="t", partition=0, next_offset=7))
    with reading(engine) as session:
        row = session.exec(select(OffsetRow)).one()
    assert row.next_offset == 7


def test_a_row_is_inserted_once_and_overwritten_in_place(engine: Engine) -> None:
    with transaction(engine) as session:
        assert insert_once(session, InboxRow(consumer="c", event_id="e"))
        assert not insert_once(session, InboxRow(consumer="c", event_id="e"))
        for offset in (1, 5, 3):
            put(session, OffsetRow(consumer="c", topic="t", partition=0, next_offset=offset))
    with reading(engine) as session:
        assert session.exec(select(OffsetRow.next_offset)).all() == [3]


def test_writers_of_one_service_wait_for_each_other_even_for_rows_that_are_not_there_yet(
    engine: Engine, database: str
) -> None:
    """Two processes count, then add one more: with a lock on rows alone both would count the same."""
    another = open_database(database, "tester")

    def add(number: int) -> None:
        with transaction((engine, another)[number % 2]) as session:
            count = len(session.exec(select(InboxRow.event_id)).all())
            insert_once(session, InboxRow(consumer="c", event_id=f"e{count}"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(24)))
    assert len(names(engine)) == 24
    another.dispose()


def test_a_lock_held_too_long_is_unavailable(engine: Engine, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.BUSY_TIMEOUT_SECONDS", 0.05)
    impatient = open_database(database, "tester")
    with transaction(engine) as holder:
        holder.connection()
        with pytest.raises(Unavailable, match="lock"), transaction(impatient) as session:
            session.connection()
    impatient.dispose()


def test_reading_sees_one_state_while_others_write(engine: Engine) -> None:
    with reading(engine) as session:
        assert session.exec(select(InboxRow.event_id)).all() == []
        with transaction(engine) as writer:
            insert_once(writer, InboxRow(consumer="c", event_id="e"))
        assert session.exec(select(InboxRow.event_id)).all() == []
    assert names(engine) == ["e"]


def test_a_missing_table_is_a_bug_and_not_an_outage(engine: Engine) -> None:
    with pytest.raises((OperationalError, ProgrammingError), match="nowhere"), transaction(engine) as session:
        session.connection().execute(text("SELECT * FROM nowhere"))


def test_a_folder_is_made_and_one_that_is_away_is_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'folder' / 'ratchet.db'}"
    make_tables(url)
    engine = open_database(url)
    (tmp_path / "deep").rename(tmp_path / "gone")
    with pytest.raises(Unavailable, match="unable to open"):
        names(engine)
    (tmp_path / "gone").rename(tmp_path / "deep")
    assert names(engine) == []
    engine.dispose()


def test_a_folder_that_is_made_for_a_database_is_private(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path / 'data' / 'ratchet.db'}").dispose()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ratchet.db", "no database's URL"),
        ("postgres://ratchet@db/ratchet", "no database's URL"),
        ("mysql+mysqldb://ratchet@db/ratchet", "RATCHET_DATABASE_URL"),
    ],
)
def test_a_url_of_no_database_we_know_is_refused_with_an_example(url: str, words: str) -> None:
    with pytest.raises(BadConfig, match=words) as refused:
        open_database(url)
    assert "postgresql+psycopg://" in str(refused.value)


def test_a_database_server_that_is_not_there_is_unavailable() -> None:
    (port,) = free_ports(1)
    engine = open_database(f"postgresql+psycopg://ratchet:secret@127.0.0.1:{port}/ratchet")
    with pytest.raises(Unavailable, match="connection failed") as refused:
        names(engine)
    assert "secret" not in str(refused.value)


def write(engine: Engine, *rows: SQLModel) -> None:
    with transaction(engine) as session:
        session.add_all(rows)


def test_a_value_that_no_column_can_hold_is_unusable_and_changes_nothing(engine: Engine) -> None:
    too_large = OutboxRow(id=10**30, service="s", topic="t", key="k", value=b"v")
    with pytest.raises(Unusable, match="the database cannot hold it"):
        write(engine, InboxRow(consumer="c", event_id="e"), too_large)
    assert names(engine) == []


def test_a_nul_in_a_text_is_kept_or_unusable_never_a_crash(engine: Engine) -> None:
    row = InboxRow(consumer="c", event_id="e\x00")
    if engine.dialect.name == "postgresql":  # its texts have none
        with pytest.raises(Unusable, match="NUL"):
            write(engine, row)
        assert names(engine) == []
    else:
        write(engine, row)
        assert names(engine) == ["e\x00"]


def test_a_number_that_json_does_not_have_is_null(engine: Engine) -> None:
    numbers = Table("test_numbers", MetaData(), Column("id", Integer, primary_key=True), Column("found", JSON))
    numbers.create(engine)
    with transaction(engine) as session:
        session.execute(numbers.insert().values(id=1, found={"loss": float("nan"), "steps": [1, float("inf")]}))
    with reading(engine) as session:
        assert session.execute(select(numbers.c.found)).scalar() == {"loss": None, "steps": [1, None]}
