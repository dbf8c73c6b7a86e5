"""First tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "promotion_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("report_sha256", sa.String(), nullable=True),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_promotion_audit_workload"), "promotion_audit", ["workload"], unique=False)
    op.create_table(
        "promotion_measurements",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("evaluation_uri", sa.String(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_table(
        "promotion_models",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("base", sa.String(), nullable=False),
        sa.Column("run_uri", sa.String(), nullable=True),
        sa.Column("adapter_sha256", sa.String(), nullable=True),
        sa.Column("preset", sa.String(), nullable=True),
        sa.Column("snapshot_id", sa.String(), nullable=True),
        sa.Column("snapshot_uri", sa.String(), nullable=True),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("measured_against", sa.String(), nullable=True),
        sa.Column("decided_at", sa.String(), nullable=True),
        sa.Column("report_uri", sa.String(), nullable=True),
        sa.Column("holdout_snapshot_id", sa.String(), nullable=True),
        sa.Column("predecessor", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_index(op.f("ix_promotion_models_workload"), "promotion_models", ["workload"], unique=False)
    op.create_index(
        "promotion_one_champion",
        "promotion_models",
        ["workload"],
        unique=True,
        sqlite_where=sa.text("stage = 'CHAMPION'"),
        postgresql_where=sa.text("stage = 'CHAMPION'"),
    )
    op.create_table(
        "promotion_plan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column("workloads", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "promotion_work",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("champion", sa.String(), nullable=True),
        sa.Column("holdout_uri", sa.String(), nullable=True),
        sa.Column("holdout_snapshot_id", sa.String(), nullable=True),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.Float(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_index(op.f("ix_promotion_work_workload"), "promotion_work", ["workload"], unique=False)


def downgrade() -> None:
    for table in ("promotion_work", "promotion_plan", "promotion_models", "promotion_measurements", "promotion_audit"):
        op.drop_table(table)
