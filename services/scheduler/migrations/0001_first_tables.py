"""First tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "scheduler_alerts",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("starts_at", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "starts_at"),
    )
    op.create_index(op.f("ix_scheduler_alerts_workload"), "scheduler_alerts", ["workload"], unique=False)
    op.create_table(
        "scheduler_examples",
        sa.Column("example_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("example_id"),
    )
    op.create_index(op.f("ix_scheduler_examples_workload"), "scheduler_examples", ["workload"], unique=False)
    op.create_table(
        "scheduler_jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("dedup_key", sa.String(), nullable=False),
        sa.Column("live_key", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("job_order", sa.JSON(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=True),
        sa.Column("child", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("live_key"),
    )
    op.create_index(op.f("ix_scheduler_jobs_dedup_key"), "scheduler_jobs", ["dedup_key"], unique=False)
    op.create_index(op.f("ix_scheduler_jobs_kind"), "scheduler_jobs", ["kind"], unique=False)
    op.create_index(op.f("ix_scheduler_jobs_state"), "scheduler_jobs", ["state"], unique=False)
    op.create_index(op.f("ix_scheduler_jobs_workload"), "scheduler_jobs", ["workload"], unique=False)
    op.create_table(
        "scheduler_used_examples",
        sa.Column("example_id", sa.String(), nullable=False),
        sa.Column("preset", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("example_id", "preset"),
    )
    op.create_index(op.f("ix_scheduler_used_examples_job_id"), "scheduler_used_examples", ["job_id"], unique=False)
    op.create_table(
        "scheduler_workloads",
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=True),
        sa.Column("nightly_through", sa.Float(), nullable=False),
        sa.Column("last_verdict", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("workload"),
    )


def downgrade() -> None:
    for table in (
        "scheduler_workloads",
        "scheduler_used_examples",
        "scheduler_jobs",
        "scheduler_examples",
        "scheduler_alerts",
    ):
        op.drop_table(table)
