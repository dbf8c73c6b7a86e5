"""The database: writers wait for each other, readers for nobody, and an outage is told as one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from shared.db import InboxRow, OffsetRow, create_tables, insert_once, open_database, put, reading, transaction
from shared.errors import Unavailable


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'deep' / 'folder' / 'ratchet.db'}")
    create_tables(engine)
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


def test_several_services_make_the_tables_at_once(tmp_path: Path) -> None:
    engines = [open_database(f"sqlite:///{tmp_path / 'ratchet.db'}") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create_tables, engines))
    assert names(engines[0]) == []
    for engine in engines:
        engine.dispose()


def test_a_lock_held_too_long_is_unavailable(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.BUSY_TIMEOUT_SECONDS", 0.05)
    impatient = open_database(str(engine.url))
    with transaction(engine) as holder:
        holder.connection()
        with pytest.raises(Unavailable, match="locked"), transaction(impatient) as session:
            session.connection()
    impatient.dispose()


def test_a_folder_that_is_away_is_unavailable(tmp_path: Path, engine: Engine) -> None:
    engine.dispose()
    (tmp_path / "deep").rename(tmp_path / "gone")
    with pytest.raises(Unavailable, match="unable to open"):
        names(engine)
    (tmp_path / "gone").rename(tmp_path / "deep")
    assert names(engine) == []


def test_a_missing_table_is_a_bug_and_not_an_outage(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="no such table"), transaction(engine) as session:
        session.connection().execute(text("SELECT * FROM nowhere"))
