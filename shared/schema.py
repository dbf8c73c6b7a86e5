"""Schemas and their migrations: which revision of each owner's tables a database holds, and the way to another.

Every table has one owner: `shared` or a service. An owner's revisions are the files of its `migrations` folder, applied
in one order, and what a database holds of them stands in its own table `schema_of_<owner>`.
Whole or not at all: everything that one `migrate` does is one transaction, on PostgreSQL and on SQLite, so a process
that is killed in it leaves the database as it was. Twice: nothing is left to do. At once: one waits for the other.
Fails: BadConfig with what differs when the tables are not those of any revision; Unavailable when the database is away
or its lock is not given in time.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect

from shared.db import read_only, unavailable_when_down, writing_alone
from shared.errors import BadConfig
from shared.table_shapes import differences, shapes_of, with_scratch_schema

BASE = "base"  # before the first revision
LOCK = "migrations"
Way = Literal["up", "down", "adopt"]


@dataclass(frozen=True, slots=True)
class Schema:
    """One owner's tables, by its folder of revisions."""

    owner: str
    folder: Path

    @classmethod
    def of(cls, package: Path) -> Self:
        """package: the folder of `shared` or of a service."""
        return cls(package.name, package / "migrations")

    @property
    def version_table(self) -> str:
        return f"schema_of_{self.owner}"

    def script(self) -> ScriptDirectory:
        return ScriptDirectory(str(self.folder), version_locations=[str(self.folder)])

    def revisions(self) -> list[str]:
        """Oldest first."""
        return [found.revision for found in self.script().walk_revisions()][::-1]


SHARED = Schema.of(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a database holds of one owner's tables."""

    owner: str
    at: str | None  # None: nothing was applied
    head: str  # what this program needs
    pending: tuple[str, ...]
    known: bool = True  # False: a newer program has migrated further

    @property
    def current(self) -> bool:
        return self.at == self.head


@dataclass(frozen=True, slots=True)
class Step:
    """One revision that was applied, taken back, or found to be there already."""

    owner: str
    revision: str
    way: Way


def every_schema() -> list[Schema]:
    """shared first: everybody needs it. Services are found by looking for their folders; none is imported."""
    services = Path(__file__).parents[1] / "services"
    return [SHARED, *(Schema.of(folder.parent) for folder in sorted(services.glob("*/migrations")))]


def migrate(engine: Engine, schemas: Sequence[Schema] | None = None) -> list[Step]:
    """Brings them to their newest revision; what was done. Tables made before there were revisions are adopted."""
    done: list[Step] = []
    with _changing(engine) as connection:
        for schema in every_schema() if schemas is None else schemas:
            standing = _standing(connection, schema)
            _refuse_unknown(standing)
            if standing.at is None and _has_tables(connection, schema):
                done.append(_adopt(connection, schema))
            done += _go(connection, schema, "up", standing.head)
    return done


def take_back(engine: Engine, schema: Schema, revision: str) -> list[Step]:
    """Down to an earlier revision, or to BASE; what their tables and columns held is gone."""
    with _changing(engine) as connection:
        standing = _standing(connection, schema)
        _refuse_unknown(standing)
        applied = [r for r in schema.revisions() if r not in standing.pending]
        if revision != BASE and revision not in applied:
            have = ", ".join((BASE, *applied))
            raise BadConfig(f"{schema.owner} cannot go down to {revision!r}; this database has {have}")
        return _go(connection, schema, "down", revision)


def standings(engine: Engine, schemas: Sequence[Schema] | None = None) -> list[Standing]:
    """A look; nothing is changed."""
    with unavailable_when_down(), read_only(engine).connect() as connection:
        return [_standing(connection, schema) for schema in (every_schema() if schemas is None else schemas)]


def require(engine: Engine, package: Path) -> None:
    """For a service's start: refuses, with words, a database that does not hold exactly what this program needs."""
    for standing in standings(engine, [SHARED, Schema.of(package)]):
        _refuse_unknown(standing)
        if not standing.current:
            have = standing.at or "no revision"
            raise BadConfig(
                f"the database has {have} of the tables of {standing.owner}, this program needs {standing.head}: "
                "run `ratchet migrate`"
            )


def as_sql(engine: Engine) -> str:
    """What `migrate` would run, as a script for the database's own client."""
    written = io.StringIO()
    written.write("BEGIN;\n\n")
    for schema, standing in zip(every_schema(), standings(engine), strict=True):
        _refuse_unknown(standing)
        if standing.at is None:
            with unavailable_when_down(), read_only(engine).connect() as connection:
                if _has_tables(connection, schema):
                    raise BadConfig(
                        f"the tables of {schema.owner} were made before there were revisions; "
                        "`ratchet migrate` compares and adopts them, a script cannot"
                    )
        if not standing.current:
            written.write(f"-- {schema.owner}: {standing.at or BASE} -> {standing.head}\n\n")
            _write_sql(engine, schema, standing, written)
    written.write("COMMIT;\n")
    return written.getvalue()


@contextmanager
def _changing(engine: Engine) -> Iterator[Connection]:
    with unavailable_when_down(), writing_alone(engine, LOCK) as connection:
        yield connection


def _standing(connection: Connection, schema: Schema) -> Standing:
    context = MigrationContext.configure(connection, opts={"version_table": schema.version_table})
    heads, revisions = context.get_current_heads(), schema.revisions()
    at = heads[0] if heads else None
    if len(heads) > 1 or (at is not None and at not in revisions):
        return Standing(schema.owner, ", ".join(heads), revisions[-1], (), known=False)
    pending = revisions if at is None else revisions[revisions.index(at) + 1 :]
    return Standing(schema.owner, at, revisions[-1], tuple(pending))


def _refuse_unknown(standing: Standing) -> None:
    if not standing.known:
        raise BadConfig(
            f"the database has {standing.at} of the tables of {standing.owner}, which this program does not know; its "
            f"newest is {standing.head}: a newer Ratchet has migrated this database, so run that one"
        )


def _go(connection: Connection, schema: Schema, way: Way, to: str) -> list[Step]:
    done: list[Step] = []

    def noted(step: Any, **_: Any) -> None:
        done.append(Step(schema.owner, step.up_revision_id, way))

    _run(schema, _path(schema, way, to), connection=connection, on_version_apply=noted)
    return done


def _path(schema: Schema, way: Way, to: str) -> Callable[[Any, Any], Any]:
    script = schema.script()
    steps = script._upgrade_revs if way == "up" else script._downgrade_revs

    def path(at: Any, _context: Any) -> Any:
        return steps(to, at)

    return path


def _run(schema: Schema, path: Callable[[Any, Any], Any], **settings: Any) -> None:
    """alembic's own loop, without its env.py; `settings` say where to."""
    try:
        with EnvironmentContext(Config(), schema.script(), fn=path, as_sql="dialect_name" in settings) as environment:
            environment.configure(version_table=schema.version_table, **settings)
            environment.run_migrations()
    except CommandError as error:
        raise BadConfig(f"the revisions in {schema.folder.name} of {schema.owner} cannot be used: {error}") from error


def _write_sql(engine: Engine, schema: Schema, standing: Standing, written: io.StringIO) -> None:
    def path(_at: Any, _context: Any) -> Any:
        return schema.script()._upgrade_revs(standing.head, standing.at or BASE)

    settings = {"dialect_name": engine.dialect.name, "output_buffer": written, "starting_rev": standing.at}
    _run(schema, path, **settings, transactional_ddl=False)


def _has_tables(connection: Connection, schema: Schema) -> bool:
    """Whether any table of the first revision is there, made by a program that knew no revisions."""
    return bool(set(_first_shapes(connection, schema)) & set(inspect(connection).get_table_names()))


def _adopt(connection: Connection, schema: Schema) -> Step:
    """Takes tables that were made without revisions for the first one, when they are just that."""
    wanted = _first_shapes(connection, schema)
    found = shapes_of(connection, only=set(wanted))
    if wrong := differences(wanted, found):
        raise BadConfig(
            f"the tables of {schema.owner} were made before there were revisions and are not those of the first one, "
            f"so nothing was changed: {'; '.join(wrong)}"
        )
    first = schema.revisions()[0]
    context = MigrationContext.configure(connection, opts={"version_table": schema.version_table})
    context.stamp(schema.script(), first)
    return Step(schema.owner, first, "adopt")


def _first_shapes(connection: Connection, schema: Schema) -> dict[str, Any]:
    """What the first revision makes, by making it where nobody sees it."""
    with with_scratch_schema(connection) as (scratch, name):
        _run(schema, _path(schema, "up", schema.revisions()[0]), connection=scratch)
        shapes = shapes_of(scratch, schema=name)
    return {table: shape for table, shape in shapes.items() if table != schema.version_table}
