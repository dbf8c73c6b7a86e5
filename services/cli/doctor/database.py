"""The database: there, of a version that was tried, migrated, with a clock like ours."""

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from services.cli.doctor.findings import Finding, look, misconfigured, ok, skipped, wrong
from shared import schema
from shared.db import open_database, reading
from shared.errors import BadConfig, Unavailable

NAME = "database"
OLDEST_TRIED = 15  # PostgreSQL's major version that the tests run on
SKEW_SECONDS = 5.0  # a job's lease is 15 s, of which heartbeats use 3
CONNECT_SECONDS = "5"


def database(url: str) -> Iterator[Finding]:
    try:
        address = make_url(url)
    except ArgumentError:
        yield misconfigured(NAME, "RATCHET_DATABASE_URL is no URL", "postgresql+psycopg://user:password@host:5432/name")
        return
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
        yield skipped(NAME, f"{address.database} is not there yet", "`ratchet up` or `ratchet migrate` makes it")
        return
    where = address.render_as_string(hide_password=True)
    try:
        engine = open_database(_impatient(address).render_as_string(hide_password=False))
    except BadConfig as error:
        yield misconfigured(NAME, str(error), "mend RATCHET_DATABASE_URL")
        return
    try:
        yield from _of(engine, where)
    finally:
        engine.dispose()


def _of(engine: Engine, where: str) -> Iterator[Finding]:
    try:
        yield from _server(engine, where) if engine.dialect.name == "postgresql" else _file(engine, where)
        yield from migrations(schema.standings(engine))
    except Unavailable as error:
        yield wrong(
            NAME,
            f"{where} cannot be used: {error}",
            "start it, or mend RATCHET_DATABASE_URL; services wait meanwhile, and nothing is lost",
        )


def _server(engine: Engine, where: str) -> Iterator[Finding]:
    with reading(engine) as session:
        before = time.time()
        version, clock = session.execute(
            text("select current_setting('server_version'), extract(epoch from clock_timestamp())")
        ).one()
        after = time.time()
    yield of_version(str(version), where)
    yield of_clock("the database's clock", float(clock), before, after)


def _file(engine: Engine, where: str) -> Iterator[Finding]:
    with reading(engine) as session:
        version = session.execute(text("select sqlite_version()")).scalar_one()
    yield ok(NAME, f"{where}, SQLite {version}")


def of_version(version: str, where: str) -> Finding:
    major = int(version.split(".")[0])
    if major < OLDEST_TRIED:
        return look(NAME, f"{where} is PostgreSQL {version}", f"the tests run on {OLDEST_TRIED}: upgrade it")
    return ok(NAME, f"{where}, PostgreSQL {version}")


def of_clock(whose: str, clock: float, before: float, after: float) -> Finding:
    """clock: seconds since 1970 on the other side, read between our `before` and `after`."""
    skew = max(before - clock, clock - after, 0.0)
    if skew > SKEW_SECONDS:
        direction = "behind" if clock < before else "ahead of"
        return wrong(
            "time", f"{whose} is {skew:.0f} s {direction} ours", "let NTP set both clocks; leases depend on it"
        )
    return ok("time", f"{whose} is less than {max(1.0, skew):.0f} s from ours" if skew else f"{whose} agrees with ours")


def migrations(standings: list[schema.Standing]) -> Iterator[Finding]:
    name = "migrations"
    if unknown := [s.owner for s in standings if not s.known]:
        says = f"a newer Ratchet has migrated the tables of {', '.join(unknown)}"
        yield wrong(name, says, "run that newer version, or `ratchet migrate --down` with it first")
    elif behind := [f"{s.owner} ({len(s.pending)} to go)" for s in standings if not s.current]:
        yield wrong(name, f"the tables are not what this program needs: {', '.join(behind)}", "ratchet migrate")
    else:
        yield ok(name, f"the tables of {', '.join(s.owner for s in standings)} are what this program needs")


def _impatient(address: URL) -> URL:
    if address.get_backend_name() != "postgresql" or "connect_timeout" in address.query:
        return address
    return address.update_query_dict({"connect_timeout": CONNECT_SECONDS})
