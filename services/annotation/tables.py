"""Annotation's rows. Text lives in `samples`, `feedback` and `corrections` only; everything else holds ids and hashes.

`train_examples` and `holdout_examples` are views, made by the first revision: a snapshot reads one of them, and the
first cannot see the holdout, because it asks the group's own row, decided once, and not only the example's copy of it.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, text
from sqlmodel import Field, SQLModel


class SampleRow(SQLModel, table=True):
    """A stored request with its answer."""

    __tablename__ = "samples"
    __table_args__ = (
        Index("samples_queue", "workload", "state", "split", "place"),
        Index("samples_question", "workload", "question"),
        Index("samples_prompt", "workload", "text_id", "state"),
        Index("samples_shown", "workload", "shown_on", "split"),
    )
    answer_id: str = Field(primary_key=True)
    workload: str
    version: str
    messages: str  # JSON, as the model saw them
    answer: str
    tool_calls: str = "[]"  # JSON
    finish_reason: str | None = None
    mean_logprob: float | None = None
    conversation: str | None = None
    end_user: str | None = None
    client_abort: bool = False
    served_at: str
    question: str  # identity of what was asked, digits and all
    text_id: str  # the folded prompt, shared by prompts that differ in what the workload's grouping ignores
    group_id: str
    split: str  # copied from the group, which never changes
    straddles: bool = False
    schema_errors: str = "[]"  # JSON, sentences
    signals: str = "[]"  # JSON, selection.Signal
    state: str = "stored"  # stored -> nominated -> waiting -> done
    place: float | None = None  # 0-1, the place in the queue; None: not nominated
    shown_on: str | None = None  # UTC day it went to the desk
    done_on: str | None = None  # UTC day of its last verdict


class FeedbackRow(SQLModel, table=True):
    """An end user's verdict; it may be here before its answer is."""

    __tablename__ = "feedback"
    feedback_id: str = Field(primary_key=True)
    answer_id: str = Field(index=True)
    thumb: str | None = None
    score: float | None = None
    comment: str | None = None
    suggested_answer: str | None = None
    given_at: str = ""


class GroupRow(SQLModel, table=True):
    """Prompts that stay on one side of the holdout border, for ever."""

    __tablename__ = "prompt_groups"
    workload: str = Field(primary_key=True)
    group_id: str = Field(primary_key=True)
    split: str
    key: str  # digest of the prompt or key that opened the group and decided the split
    from_application: bool = False
    samples: int = 0


class PromptRow(SQLModel, table=True):
    """A distinct folded prompt and the group it belongs to."""

    __tablename__ = "prompts"
    workload: str = Field(primary_key=True)
    text_id: str = Field(primary_key=True)
    group_id: str
    straddles: bool = False
    shingles: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    band_rows: int = 0  # the shape of its bands; another threshold needs another shape
    bands: int = 0  # how many of its bands could be kept


class BandRow(SQLModel, table=True):
    """The near-duplicate index: one prompt of a group for each band that the group shows."""

    __tablename__ = "prompt_bands"
    __table_args__ = ({"sqlite_with_rowid": False},)
    workload: str = Field(primary_key=True)
    band: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    group_id: str = Field(primary_key=True)
    text_id: str


class CorrectionRow(SQLModel, table=True):
    """An expert's verdict on a sample, and what curation made of it."""

    __tablename__ = "corrections"
    correction_id: str = Field(primary_key=True)
    sample_id: str = Field(index=True)
    workload: str = Field(index=True)
    verdict: str
    ideal: str | None = None
    reasons: str = "[]"  # JSON, sorted
    annotator: str
    comment: str | None = None
    corrected_at: str
    superseded_by: str | None = None  # a later verdict on the same sample
    outcome: str = ""  # "example", "rejected", "knowledge_gap", "discarded"; or one of repository.OPEN
    refusal: str | None = None  # curation.Refusal
    why: str | None = None  # the refusal as a sentence


class ExampleRow(SQLModel, table=True):
    """A correction that passed curation. The ideal answer is in its correction, the prompt in its sample."""

    __tablename__ = "examples"
    __table_args__ = (
        Index("examples_question", "workload", "group_id", "question"),
        Index("examples_split", "workload", "split", "state"),
        Index(
            "examples_one_active",
            "workload",
            "group_id",
            "question",
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
    )
    example_id: str = Field(primary_key=True)
    correction_id: str = Field(unique=True)
    sample_id: str = Field(index=True)
    workload: str
    group_id: str
    split: str
    kind: str  # "good" or "fix"
    question: str
    ideal_sha256: str = Field(index=True)
    state: str = "active"  # or "retired"
    superseded_by: str | None = None
    curated_at: str


class OpinionRow(SQLModel, table=True):
    """A response at a desk that keeps its own, as it was last seen there. Its text is in the correction."""

    __tablename__ = "desk_opinions"
    response_id: str = Field(primary_key=True)
    sample_id: str = Field(index=True)
    workload: str = Field(index=True)
    annotator: str
    changed_at: str  # by the desk's clock
    label: str  # "good", "fix", "discard" or "knowledge"
    final: bool = False  # a reviewer's
    correction_id: str | None = None  # None: a gold item, or a sample that is not here
    gold_right: bool | None = None  # of a gold item


class DisputeRow(SQLModel, table=True):
    """A sample about which annotators disagree."""

    __tablename__ = "desk_disputes"
    sample_id: str = Field(primary_key=True)
    workload: str = Field(index=True)
    opened_at: str
    state: str = "open"  # -> asked -> closed


class GoldRow(SQLModel, table=True):
    """An item with a known answer that was put among the others."""

    __tablename__ = "gold_items"
    item_id: str = Field(primary_key=True)
    workload: str = Field(index=True)
    gold_id: str
    label: str
    ideal: str | None = None


VIEW_OF = {"train": "train_examples", "holdout": "holdout_examples"}
