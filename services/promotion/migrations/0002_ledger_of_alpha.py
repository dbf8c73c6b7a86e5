"""The ledger of alpha. It begins empty: what was decided before is not counted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "promotion_decisions",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=False),
        sa.Column("holdout_snapshot_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("holdout", sa.Integer(), nullable=False),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("spent_before", sa.Float(), nullable=False),
        sa.Column("decisions_before", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("version", "champion", "holdout_snapshot_id"),
    )
    op.create_index(op.f("ix_promotion_decisions_workload"), "promotion_decisions", ["workload"], unique=False)
    op.create_table(
        "promotion_holdout_versions",
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "number"),
    )


def downgrade() -> None:
    op.drop_table("promotion_holdout_versions")
    op.drop_index(op.f("ix_promotion_decisions_workload"), table_name="promotion_decisions")
    op.drop_table("promotion_decisions")
