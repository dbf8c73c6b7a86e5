"""Opinions of several annotators, disputes between them, and gold items"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "desk_opinions",
        sa.Column("response_id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("changed_at", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("correction_id", sa.String(), nullable=True),
        sa.Column("gold_right", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("response_id"),
    )
    op.create_index(op.f("ix_desk_opinions_sample_id"), "desk_opinions", ["sample_id"], unique=False)
    op.create_index(op.f("ix_desk_opinions_workload"), "desk_opinions", ["workload"], unique=False)
    op.create_table(
        "desk_disputes",
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("opened_at", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sample_id"),
    )
    op.create_index(op.f("ix_desk_disputes_workload"), "desk_disputes", ["workload"], unique=False)
    op.create_table(
        "gold_items",
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("gold_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("ideal", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index(op.f("ix_gold_items_workload"), "gold_items", ["workload"], unique=False)


def downgrade() -> None:
    for table in ("gold_items", "desk_disputes", "desk_opinions"):
        op.drop_table(table)
