"""`ratchet migrate`: brings the database's tables to what this program needs, and says where they stand."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

from shared.db import open_database
from shared.errors import BadConfig, Unavailable
from shared.plain import shown
from shared.schema import BASE, Schema, Standing, Step, as_sql, every_schema, migrate, standings, take_back

WAIT_SECONDS = 60.0  # `ratchet up` for a database that is just starting
_SAID = {"up": "applied", "down": "taken back", "adopt": "found, made before there were revisions"}


def upgrade(url: str) -> list[str]:
    """Everything to its newest revision; what was done, a line each."""
    with _opened(url) as engine:
        return [_line(step) for step in migrate(engine)] or ["nothing to do: every table is as this program needs it"]


def look(url: str) -> tuple[list[str], bool]:
    """Where each owner's tables stand, a line each, and whether all are as this program needs them."""
    with _opened(_there(url)) as engine:
        found = standings(engine)
    return [_standing(standing) for standing in found], all(standing.current for standing in found)


def script(url: str) -> str:
    with _opened(_there(url)) as engine:
        return as_sql(engine)


def downgrade(url: str, target: str) -> list[str]:
    """target: OWNER=REVISION."""
    owner, _, revision = target.partition("=")
    schema = _named(owner)
    if not revision:
        raise BadConfig(f"--down {target} names no revision; write {owner}={BASE} or {owner}={schema.revisions()[0]}")
    with _opened(url) as engine:
        return [_line(step) for step in take_back(engine, schema, revision)] or [f"{owner} is at {revision} already"]


def upgrade_when_there(url: str, say: Callable[[str], None]) -> None:
    """As `upgrade`, for a start: a database that is away is waited for, a minute at most."""
    until = time.monotonic() + WAIT_SECONDS
    told = False
    with _opened(url) as engine:
        while True:
            try:
                for step in migrate(engine):
                    say(_line(step))
                return
            except Unavailable as error:
                if time.monotonic() > until:
                    raise
                if not told:
                    say(f"waits for the database, {WAIT_SECONDS:.0f} s at most: {shown(error)}")
                told = True
                time.sleep(1.0)


def _named(owner: str) -> Schema:
    schemas = {schema.owner: schema for schema in every_schema()}
    if owner not in schemas:
        raise BadConfig(f"nobody called {owner!r} owns tables; there are {', '.join(schemas)}")
    return schemas[owner]


def _line(step: Step) -> str:
    return f"{step.owner} {step.revision} {_SAID[step.way]}"


def _standing(standing: Standing) -> str:
    if not standing.known:
        return f"{standing.owner}: at {standing.at}, made by a newer Ratchet; this one knows up to {standing.head}"
    if standing.current:
        return f"{standing.owner}: at {standing.at}, as needed"
    return f"{standing.owner}: at {standing.at or BASE}, to apply: {', '.join(standing.pending)}"


def _there(url: str) -> str:
    """For a look, which makes nothing: in place of a SQLite file that is not there, an empty database in memory."""
    try:
        address = make_url(url)
    except ArgumentError:
        return url  # that it is no URL is told when it is opened
    is_missing = address.get_backend_name() == "sqlite" and address.database and not Path(address.database).exists()
    return "sqlite://" if is_missing else url


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_database(url, "migrations")
    try:
        yield engine
    finally:
        engine.dispose()
