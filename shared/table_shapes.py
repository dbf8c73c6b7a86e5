"""What tables look like in a database, and how two looks differ: in columns, keys and indexes."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, inspect

SCRATCH = "ratchet_scratch"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one table; every part as words, so that it can be compared and shown."""

    columns: Mapping[str, str]  # name -> type and whether it may be empty
    key: tuple[str, ...]
    indexes: frozenset[str]


def shapes_of(
    connection: Connection, *, schema: str | None = None, only: Collection[str] | None = None
) -> dict[str, Shape]:
    """By table or view; only: those of these that are there."""
    look = inspect(connection)
    tables, views = look.get_table_names(schema), look.get_view_names(schema)
    names = [name for name in (*tables, *views) if only is None or name in only]
    shapes = {}
    for name in names:
        columns = {
            column["name"]: f"{column['type']}{'' if column['nullable'] else ' not null'}"
            for column in look.get_columns(name, schema)
        }
        indexes = frozenset(
            f"{'unique ' if found['unique'] else ''}index on {', '.join(str(c) for c in found['column_names'])}"
            for found in look.get_indexes(name, schema)
        )
        key = tuple(look.get_pk_constraint(name, schema)["constrained_columns"])
        shapes[name] = Shape(columns, key, indexes)
    return shapes


def differences(wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> list[str]:
    """A sentence each; none: found holds all of wanted, and no column more."""
    wrong = []
    for name, want in wanted.items():
        have = found.get(name)
        if have is None:
            wrong.append(f"the table {name} is missing")
            continue
        for column in sorted(want.columns.keys() | have.columns.keys()):
            if want.columns.get(column) != have.columns.get(column):
                is_there, should = have.columns.get(column, "missing"), want.columns.get(column, "not there")
                wrong.append(f"{name}.{column} is {is_there} and should be {should}")
        if want.key != have.key:
            wrong.append(f"the key of {name} is {', '.join(have.key)} and should be {', '.join(want.key)}")
        wrong += [f"{name} has no {index}" for index in sorted(want.indexes - have.indexes)]
    return wrong


@contextmanager
def with_scratch_schema(connection: Connection) -> Iterator[tuple[Connection, str | None]]:
    """An empty place in the same kind of database, and its schema's name there; nothing in it stays."""
    if connection.dialect.name == "sqlite":
        engine = create_engine("sqlite://")
        with engine.connect() as scratch:
            yield scratch, None
        engine.dispose()
        return
    inside = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCRATCH}")
        connection.exec_driver_sql(f"SET LOCAL search_path TO {SCRATCH}")
        yield connection, SCRATCH
    finally:
        inside.rollback()
