"""The one database: engine, sessions, and the three tables of the log's bookkeeping (inbox, outbox, offsets).

SQLite runs in WAL mode and a `transaction` begins IMMEDIATE, so two services that write at once wait for each other
instead of failing at commit; `reading` sees one state of the database and waits for nobody.
Nobody commits but the edge: a request or a batch of records is one transaction.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Field, Session, SQLModel, create_engine

from shared.errors import Unavailable

BUSY_TIMEOUT_SECONDS = 30.0
CREATE_ATTEMPTS = 5
_FOR_READING = "ratchet_reading"
_FOR_EVER = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}


class InboxRow(SQLModel, table=True):
    """An event a consumer has handled; inserted in the same transaction as what the event did."""

    __tablename__ = "inbox"
    consumer: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)


class OutboxRow(SQLModel, table=True):
    """An event born in the database, waiting to be published in the order of `id`."""

    __tablename__ = "outbox"
    id: int | None = Field(default=None, primary_key=True)
    service: str = Field(index=True)
    topic: str
    key: str
    value: bytes


class OffsetRow(SQLModel, table=True):
    """How far a consumer's transactions have come; the truth, where the bus's own commit is a hint."""

    __tablename__ = "offsets"
    consumer: str = Field(primary_key=True)
    topic: str = Field(primary_key=True)
    partition: int = Field(primary_key=True)
    next_offset: int


def open_database(url: str) -> Engine:
    """An engine for `sqlite:///abs/path.db` or any SQLAlchemy URL; a missing SQLite folder is made."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def create_tables(engine: Engine) -> None:
    """Creates what is missing of every table that was imported; safe when several services start at once."""
    with unavailable_when_down():
        for attempt in range(CREATE_ATTEMPTS):
            try:
                SQLModel.metadata.create_all(engine)
                return
            except DBAPIError as error:
                # PostgreSQL: another service made the same table between the look and the making.
                if "already exists" not in str(error) or attempt == CREATE_ATTEMPTS - 1:
                    raise


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on any error; a database that is away is Unavailable."""
    with unavailable_when_down(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """For queries alone: one state of the database from its first query on; neither it nor a writer waits.

    What is written in it is rolled back.
    """
    view = engine.execution_options(**{_FOR_READING: True})
    with unavailable_when_down(), Session(view, expire_on_commit=False) as session:
        yield session


def insert_once(session: Session, row: SQLModel) -> bool:
    """Inserts the row unless its key is there; whether it did. Two processes that race: one of them did."""
    result = session.connection().execute(_insert(session, row).on_conflict_do_nothing())
    return result.rowcount == 1


def put(session: Session, row: SQLModel) -> None:
    """Inserts the row, or overwrites the one with its key."""
    keys = [column.name for column in type(row).__table__.primary_key]  # type: ignore[attr-defined]
    values = {name: value for name, value in row.model_dump().items() if name not in keys}
    session.connection().execute(_insert(session, row).on_conflict_do_update(index_elements=keys, set_=values))


@contextmanager
def unavailable_when_down() -> Iterator[None]:
    """Turns "locked", "disk full" and "connection lost" into Unavailable; every other database error is a bug."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(f"every connection to the database is in use: {error}") from error
    except DBAPIError as error:
        code = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
        if error.connection_invalidated or (isinstance(error, OperationalError) and code not in _FOR_EVER):
            raise Unavailable(f"the database cannot be used now: {error.orig}") from error
        raise


def _insert(session: Session, row: SQLModel) -> Any:
    table, values = type(row).__table__, row.model_dump()  # type: ignore[attr-defined]
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).values(values)
    return sqlite.insert(table).values(values)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # SQLAlchemy, not the driver, begins transactions: the driver would begin DEFERRED and fail at the upgrade to a
    # write lock when another process wrote meanwhile.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Any) -> None:
    for_reading = connection.get_execution_options().get(_FOR_READING)
    connection.exec_driver_sql("BEGIN DEFERRED" if for_reading else "BEGIN IMMEDIATE")
