"""The databases that tests run on: SQLite always, PostgreSQL where RATCHET_TEST_DATABASE_URL names a server.

A test with the fixture `database` runs once on each of them. `of_folder` is then the URL of a database of its own, with
every table: the same one for the same folder, as a service that starts again finds its own.
"""

import atexit
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import URL, create_engine, inspect, make_url

from shared.db import open_database
from shared.schema import every_schema, migrate, standings

SERVER = os.environ.get("RATCHET_TEST_DATABASE_URL", "")
_numbers = itertools.count()
_spare: list[str] = []
_spare_and_empty: list[str] = []
_until_exit = ExitStack()
atexit.register(_until_exit.close)


class Databases:
    """Those of one test, on one kind of server."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._urls: dict[Path, str] = {}
        self._made = ExitStack()

    def of_folder(self, folder: Path) -> str:
        if folder not in self._urls:
            self._urls[folder] = self._sqlite(folder) if self._kind == "sqlite" else self._postgresql()
        return self._urls[folder]

    def empty(self, folder: Path) -> str:
        """Without any table."""
        if self._kind == "sqlite":
            return f"sqlite:///{folder / 'empty.db'}"
        return self._made.enter_context(_taken_empty())

    def drop(self) -> None:
        self._made.close()

    def _sqlite(self, folder: Path) -> str:
        path = folder / "ratchet.db"
        if not path.exists():
            shutil.copyfile(_sqlite_with_tables(), path)
        return f"sqlite:///{path}"

    def _postgresql(self) -> str:
        return self._made.enter_context(_taken())


_of_this_test = [Databases("sqlite")]  # the last one counts; a test without the fixture is on SQLite


def of_folder(folder: Path) -> str:
    return _of_this_test[-1].of_folder(folder)


@contextmanager
def running_on(kind: str) -> Iterator[Databases]:
    mine = Databases(kind)
    _of_this_test.append(mine)
    try:
        yield mine
    finally:
        _of_this_test.remove(mine)
        mine.drop()


def make_tables(url: str) -> None:
    """As `ratchet migrate` does."""
    engine = open_database(url)
    migrate(engine)
    engine.dispose()


@contextmanager
def own_database(template: str = "template1") -> Iterator[str]:
    """A new one on the server: without any table, or a copy."""
    name, admin = f"ratchet_test_{os.getpid()}_{next(_numbers)}", make_url(SERVER)
    _on_server(admin, f"CREATE DATABASE {name} TEMPLATE {template}")
    _on_server(admin, f"ALTER DATABASE {name} SET synchronous_commit TO off")  # no test cuts the power
    try:
        yield admin.set(database=name).render_as_string(hide_password=False)
    finally:
        _on_server(admin, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _taken() -> Iterator[str]:
    """One with every table and no row. Kept for the next test, since a server takes half a second to drop one."""
    url = _spare.pop() if _spare else _until_exit.enter_context(own_database(_postgresql_with_tables()))
    yield url
    if _emptied(url):
        _spare.append(url)


@contextmanager
def _taken_empty() -> Iterator[str]:
    url = _spare_and_empty.pop() if _spare_and_empty else _until_exit.enter_context(own_database())
    yield url
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    _spare_and_empty.append(url)


def _emptied(url: str) -> bool:
    """Without connections and rows. False: its tables are not all there, so nobody may have it."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = [table for table in inspect(connection).get_table_names() if not table.startswith("schema_of_")]
        if tables:
            connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
        for table in tables:
            if table.startswith("test_"):  # a test's own
                connection.exec_driver_sql(f"DROP TABLE {table}")
    whole = all(standing.current for standing in standings(engine))
    engine.dispose()
    return whole


@cache
def _sqlite_with_tables() -> Path:
    path = Path(_until_exit.enter_context(tempfile.TemporaryDirectory(prefix="ratchet-tables-"))) / "ratchet.db"
    make_tables(f"sqlite:///{path}")
    return path


@cache
def _postgresql_with_tables() -> str:
    """One for each state of the revisions, kept on the server: the next run of the tests finds it."""
    files = sorted(path for schema in every_schema() for path in schema.folder.glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    name, admin = f"ratchet_tables_{digest}", make_url(SERVER)
    partial = f"{name}_{os.getpid()}"
    if name not in _databases(admin):
        _on_server(admin, f"CREATE DATABASE {partial}")
        make_tables(admin.set(database=partial).render_as_string(hide_password=False))
        _on_server(admin, f"ALTER DATABASE {partial} RENAME TO {name}")
    return name


def _databases(admin: URL) -> set[str]:
    engine = create_engine(admin)
    with engine.connect() as connection:
        found = set(connection.exec_driver_sql("SELECT datname FROM pg_database").scalars())
    engine.dispose()
    return found


def _on_server(admin: URL, statement: str) -> None:
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
