"""First tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

VIEW = """
SELECT e.example_id, e.workload, e.group_id, e.kind, s.messages, c.ideal, s.answer
FROM examples e
JOIN prompt_groups g ON g.workload = e.workload AND g.group_id = e.group_id
JOIN samples s ON s.answer_id = e.sample_id
JOIN corrections c ON c.correction_id = e.correction_id
WHERE e.state = 'active' AND e.split = '{split}' AND g.split = '{split}' AND s.split = '{split}'
"""


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("correction_id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("ideal", sa.String(), nullable=True),
        sa.Column("reasons", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("comment", sa.String(), nullable=True),
        sa.Column("corrected_at", sa.String(), nullable=False),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("refusal", sa.String(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("correction_id"),
    )
    op.create_index(op.f("ix_corrections_sample_id"), "corrections", ["sample_id"], unique=False)
    op.create_index(op.f("ix_corrections_workload"), "corrections", ["workload"], unique=False)
    op.create_table(
        "examples",
        sa.Column("example_id", sa.String(), nullable=False),
        sa.Column("correction_id", sa.String(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("ideal_sha256", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("curated_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("example_id"),
        sa.UniqueConstraint("correction_id"),
    )
    op.create_index(
        "examples_one_active",
        "examples",
        ["workload", "group_id", "question"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index("examples_question", "examples", ["workload", "group_id", "question"], unique=False)
    op.create_index("examples_split", "examples", ["workload", "split", "state"], unique=False)
    op.create_index(op.f("ix_examples_ideal_sha256"), "examples", ["ideal_sha256"], unique=False)
    op.create_index(op.f("ix_examples_sample_id"), "examples", ["sample_id"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.String(), nullable=False),
        sa.Column("answer_id", sa.String(), nullable=False),
        sa.Column("thumb", sa.String(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("comment", sa.String(), nullable=True),
        sa.Column("suggested_answer", sa.String(), nullable=True),
        sa.Column("given_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("feedback_id"),
    )
    op.create_index(op.f("ix_feedback_answer_id"), "feedback", ["answer_id"], unique=False)
    op.create_table(
        "prompt_bands",
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("band", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("text_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "band", "group_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prompt_groups",
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("from_application", sa.Boolean(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "group_id"),
    )
    op.create_table(
        "prompts",
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("text_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("straddles", sa.Boolean(), nullable=False),
        sa.Column("shingles", sa.LargeBinary(), nullable=True),
        sa.Column("band_rows", sa.Integer(), nullable=False),
        sa.Column("bands", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workload", "text_id"),
    )
    op.create_table(
        "samples",
        sa.Column("answer_id", sa.String(), nullable=False),
        sa.Column("workload", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("messages", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("tool_calls", sa.String(), nullable=False),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("mean_logprob", sa.Float(), nullable=True),
        sa.Column("conversation", sa.String(), nullable=True),
        sa.Column("end_user", sa.String(), nullable=True),
        sa.Column("client_abort", sa.Boolean(), nullable=False),
        sa.Column("served_at", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("text_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("straddles", sa.Boolean(), nullable=False),
        sa.Column("schema_errors", sa.String(), nullable=False),
        sa.Column("signals", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("place", sa.Float(), nullable=True),
        sa.Column("shown_on", sa.String(), nullable=True),
        sa.Column("done_on", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("answer_id"),
    )
    op.create_index("samples_prompt", "samples", ["workload", "text_id", "state"], unique=False)
    op.create_index("samples_question", "samples", ["workload", "question"], unique=False)
    op.create_index("samples_queue", "samples", ["workload", "state", "split", "place"], unique=False)
    op.create_index("samples_shown", "samples", ["workload", "shown_on", "split"], unique=False)
    for name, split in (("train_examples", "train"), ("holdout_examples", "holdout")):
        op.execute(f"CREATE VIEW {name} AS {VIEW.format(split=split)}")


def downgrade() -> None:
    for view in ("train_examples", "holdout_examples"):
        op.execute(f"DROP VIEW {view}")
    for table in ("samples", "prompts", "prompt_groups", "prompt_bands", "feedback", "examples", "corrections"):
        op.drop_table(table)
