"""The one database: engine, sessions, and the three tables of the log's bookkeeping (inbox, outbox, offsets).

SQLite runs in WAL mode and every transaction begins IMMEDIATE, so two services that write at once wait for each other
instead of failing at commit. Nobody commits but the edge: a request or a batch of records is one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Field, Session, SQLModel, create_engine

from shared.errors import Unavailable

BUSY_TIMEOUT_SECONDS = 30.0


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
    event.listen(engine, "begin", _begin_immediate)
    return engine


def create_tables(engine: Engine) -> None:
    """Creates what is missing of every table that was imported; safe when several services start at once."""
    with unavailable_when_down():
        try:
            SQLModel.metadata.create_all(engine)
        except OperationalError as error:
            if "already exists" not in str(error):
                raise
            SQLModel.metadata.create_all(engine)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on any error; a database that is away is Unavailable."""
    with unavailable_when_down(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def unavailable_when_down() -> Iterator[None]:
    """Turns "locked", "disk full" and "connection lost" into Unavailable; every other database error is a bug."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise Unavailable(f"the database cannot be used now: {error.orig}") from error
        raise


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # SQLAlchemy, not the driver, begins transactions: the driver would begin DEFERRED and fail at the upgrade to a
    # write lock when another process wrote meanwhile.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
