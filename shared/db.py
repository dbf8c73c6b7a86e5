"""The one database: engine, sessions, and the three tables of the log's bookkeeping (inbox, outbox, offsets).

`transaction` is for writing: those of one writer happen one after the other, so that what was read in one still holds
when it commits. On SQLite, in WAL mode, all services are one writer (BEGIN IMMEDIATE); on PostgreSQL each service is
one, with all its processes (an advisory lock). `reading` sees one state of the database and waits for nobody.
Nobody commits but the edge: a request or a batch of records is one transaction.
"""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, BigInteger, Column, Connection, Engine, Integer, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Field, Session, SQLModel, create_engine

from shared.errors import BadConfig, Unavailable, Unusable
from shared.limits import PRIVATE

BUSY_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 5
IDLE_TRANSACTION_SECONDS = 60
_FOR_READING, _WRITER = "ratchet_reading", "ratchet_writer"
_EXAMPLES = "it should be like sqlite:////folder/ratchet.db or postgresql+psycopg://user:password@host:5432/ratchet"
# Of PostgreSQL's error classes those that pass: connection lost, not enough of something, stopped by an operator,
# serialisation and deadlock, a lock that was not given in time, a transaction that was ended for being idle, a standby.
_PASSING = ("08", "53", "57", "40", "55P03", "25P03", "25006", "28P01", "28000", "3D000")
_LIMIT_EXCEEDED = "54000"
_COUNTER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up an INTEGER only, which has 64 bits there
_FOR_EVER = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}


class InboxRow(SQLModel, table=True):
    """An event a consumer has handled; inserted in the same transaction as what the event did."""

    __tablename__ = "inbox"
    consumer: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)


class OutboxRow(SQLModel, table=True):
    """An event born in the database, waiting to be published in the order of `id`."""

    __tablename__ = "outbox"
    id: int | None = Field(default=None, sa_column=Column(_COUNTER, primary_key=True))
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
    next_offset: int = Field(sa_column=Column(_COUNTER, nullable=False))


def open_database(url: str, writer: str = "") -> Engine:
    """An engine for `sqlite:///abs/path.db` or `postgresql+psycopg://...`; a missing SQLite folder is made.

    writer: whose transactions these are, a service's name. Those of one writer happen one after the other.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_dialect().name
    except (ArgumentError, NoSuchModuleError) as error:
        raise BadConfig(f"RATCHET_DATABASE_URL is no database's URL: {error}; {_EXAMPLES}") from error
    if kind == "postgresql":
        engine = create_engine(parsed, json_serializer=_as_json, **_postgresql_settings(parsed, writer))
        event.listen(engine, "begin", _begin_postgresql)
    elif kind == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        arguments = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        engine = create_engine(parsed, json_serializer=_as_json, connect_args=arguments)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        raise BadConfig(f"RATCHET_DATABASE_URL names {kind}, which Ratchet does not know; {_EXAMPLES}")
    return engine.execution_options(**{_WRITER: writer or "anybody"})


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
    with unavailable_when_down(), Session(read_only(engine), expire_on_commit=False) as session:
        yield session


def read_only(engine: Engine) -> Engine:
    """The same database, where a transaction is for queries alone, as in `reading`."""
    return engine.execution_options(**{_FOR_READING: True})


@contextmanager
def writing_alone(engine: Engine, what: str) -> Iterator[Connection]:
    """One transaction, while no other process does the same `what`: it waits for its end."""
    with engine.execution_options(**{_WRITER: what}).begin() as connection:
        yield connection


def insert_once(session: Session, row: SQLModel) -> bool:
    """Inserts the row unless its key is there; whether it did. Two processes that race: one of them did."""
    statement = _insert(session, row).on_conflict_do_nothing()
    # Without the option the count of an INSERT is unknown on PostgreSQL.
    return session.connection().execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def put(session: Session, row: SQLModel) -> None:
    """Inserts the row, or overwrites the one with its key."""
    keys = [column.name for column in type(row).__table__.primary_key]  # type: ignore[attr-defined]
    values = {name: value for name, value in row.model_dump().items() if name not in keys}
    session.connection().execute(_insert(session, row).on_conflict_do_update(index_elements=keys, set_=values))


@contextmanager
def unavailable_when_down() -> Iterator[None]:
    """Turns "locked", "disk full" and "connection lost" into Unavailable, a value that fits no column into Unusable.

    Every other database error is a bug.
    """
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(f"every connection to the database is in use: {error}") from error
    except DBAPIError as error:
        if is_outage(error):
            raise Unavailable(f"the database cannot be used now: {error.orig}") from error
        if cannot_hold(error):
            raise Unusable(f"the database cannot hold it: {error.orig}") from error
        raise
    except OverflowError as error:
        raise Unusable(f"the database cannot hold it: {error}") from error


def objections_to(engine: Engine) -> list[str]:
    """For readiness: why the database cannot be used now; none when it answers."""
    try:
        with reading(engine) as session:
            session.execute(text("SELECT 1"))
    except Unavailable as error:
        return [str(error)]
    return []


def is_outage(error: DBAPIError) -> bool:
    """Whether the same statement may work later."""
    if error.connection_invalidated:
        return True
    if state := getattr(error.orig, "sqlstate", None):
        return str(state).startswith(_PASSING)
    code = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
    return isinstance(error, OperationalError) and code not in _FOR_EVER


def cannot_hold(error: Exception) -> bool:
    """Whether a value fits no column: a NUL, 10**30, a key too long for an index. It never will."""
    if isinstance(error, (DataError, OverflowError)):
        return True
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _LIMIT_EXCEEDED


def _as_json(value: Any) -> str:
    """JSON has no NaN: a loss that ran away is null, on both databases."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list | tuple) else value


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


def _begin_sqlite(connection: Any) -> None:
    for_reading = connection.get_execution_options().get(_FOR_READING)
    connection.exec_driver_sql("BEGIN DEFERRED" if for_reading else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Any) -> None:
    options = connection.get_execution_options()
    if options.get(_FOR_READING):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return
    # What was read before a write must still hold at the commit: as SQLite's one writer does, writers queue here.
    name = f"ratchet writer {options[_WRITER]}"
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))


def _postgresql_settings(url: URL, writer: str) -> dict[str, Any]:
    limits = {
        "lock_timeout": f"{BUSY_TIMEOUT_SECONDS}s",
        # A process that stopped in the middle of a transaction must not keep the others out for ever.
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
        "timezone": "UTC",
    }
    given = url.query.get("options", "")
    options = " ".join([str(given), *(f"-c {name}={value}" for name, value in limits.items())]).strip()
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": f"ratchet {writer}".strip(),
        "options": options,
    }
    return {"pool_pre_ping": True, "pool_timeout": BUSY_TIMEOUT_SECONDS, "connect_args": arguments}
