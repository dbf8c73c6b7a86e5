"""Writes a revision for what an owner's tables have and its migrations have not:

.venv/bin/python -m tests.new_revision annotation "pairs of answers"

Look it through: a renamed column reads as one dropped and one added, and rows that are there need their values.
"""

import re
import sys
from importlib import import_module

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrationScript
from sqlalchemy import Connection
from sqlmodel import SQLModel

from shared.db import open_database
from shared.schema import Schema, every_schema, migrate

FILE = '''"""{what}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before}


def upgrade() -> None:
{up}


def downgrade() -> None:
{down}
'''


def tables_of(owner: str) -> set[str]:
    """The names of the tables that the owner's code declares."""
    module = import_module("shared.db" if owner == "shared" else f"services.{owner}.tables")
    declared = [row for row in vars(module).values() if isinstance(row, type) and row.__module__ == module.__name__]
    return {str(row.__tablename__) for row in declared if issubclass(row, SQLModel) and hasattr(row, "__table__")}


def missing(connection: Connection, owner: str) -> MigrationScript:
    """What a migrated database lacks of the owner's tables, or has beyond them."""
    own = tables_of(owner)

    def is_own(thing: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name in own

    context = MigrationContext.configure(connection, opts={"include_object": is_own, "compare_type": True})
    return produce_migrations(context, SQLModel.metadata)


def main(owner: str, what: str) -> None:
    schema = next(schema for schema in every_schema() if schema.owner == owner)
    engine = open_database("sqlite://")
    migrate(engine, [schema])
    with engine.begin() as connection:
        script = missing(connection, owner)
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    if script.upgrade_ops.is_empty():
        raise SystemExit(f"the migrations of {owner} make all its tables already")
    print(
        "wrote", _write(schema, what, render_python_code(script.upgrade_ops), render_python_code(script.downgrade_ops))
    )


def _write(schema: Schema, what: str, up: str, down: str) -> str:
    known = schema.revisions() if any(schema.folder.glob("*.py")) else []
    revision = f"{len(known) + 1:04}"
    words = re.sub(r"[^a-z0-9]+", "_", what.lower()).strip("_")
    path = schema.folder / f"{revision}_{words}.py"
    before = f'"{known[-1]}"' if known else None
    text = FILE.format(what=what, revision=revision, before=before, up=_plain(up), down=_plain(down))
    path.write_text(text, encoding="utf-8")
    return str(path)


def _plain(code: str) -> str:
    lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
    text = "\n".join(
        f"    {line.strip()}" if line.startswith("    ") else f"    {line}" for line in lines if line.strip()
    )
    return text.replace("sqlmodel.sql.sqltypes.AutoString()", "sa.String()")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
