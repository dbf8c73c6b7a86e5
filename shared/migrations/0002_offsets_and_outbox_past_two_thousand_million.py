"""Offsets and outbox rows past 2,147,483,647: 64 bits on PostgreSQL, as SQLite's integers always had."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _widths(sa.Integer(), sa.BigInteger(), "bigint")


def downgrade() -> None:
    _widths(sa.BigInteger(), sa.Integer(), "integer")


def _widths(before: sa.types.TypeEngine[int], after: sa.types.TypeEngine[int], sequence: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    op.alter_column("offsets", "next_offset", existing_type=before, type_=after)
    op.alter_column("outbox", "id", existing_type=before, type_=after)
    op.execute(f"ALTER SEQUENCE outbox_id_seq AS {sequence}")
