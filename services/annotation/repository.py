"""Every query on samples, groups, corrections and examples. Nobody commits here: the caller's transaction does."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import and_, exists, func, insert, text, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from services.annotation.grouping import Neighbour, Shingles, Split
from services.annotation.selection import Candidate, Signal
from services.annotation.tables import (
    VIEW_OF,
    BandRow,
    CorrectionRow,
    ExampleRow,
    FeedbackRow,
    GroupRow,
    PromptRow,
    SampleRow,
)


class Band(NamedTuple):
    """One prompt that its group shows under one band."""

    key: int
    group_id: str
    text_id: str


OPEN = ("awaits_another", "disputed")  # outcomes of corrections that do not count yet
MOST_NEIGHBOURS = 200  # of one group and one ideal answer, the latest; compared one by one


# --- samples and feedback ---


def sample(session: Session, answer_id: str) -> SampleRow | None:
    return session.get(SampleRow, answer_id)


def samples(session: Session, answer_ids: Sequence[str]) -> Sequence[SampleRow]:
    return session.exec(select(SampleRow).where(col(SampleRow.answer_id).in_(answer_ids))).all()


def feedback_on(session: Session, answer_id: str) -> Sequence[FeedbackRow]:
    query = select(FeedbackRow).where(FeedbackRow.answer_id == answer_id)
    return session.exec(query.order_by(col(FeedbackRow.given_at), col(FeedbackRow.feedback_id))).all()


def feedback_on_all(session: Session, answer_ids: Iterable[str]) -> dict[str, list[FeedbackRow]]:
    query = select(FeedbackRow).where(col(FeedbackRow.answer_id).in_(list(answer_ids)))
    found: dict[str, list[FeedbackRow]] = {}
    for row in session.exec(query.order_by(col(FeedbackRow.given_at), col(FeedbackRow.feedback_id))):
        found.setdefault(row.answer_id, []).append(row)
    return found


# --- prompts and their groups ---


def prompt(session: Session, workload: str, text_id: str) -> PromptRow | None:
    return session.get(PromptRow, (workload, text_id))


def group(session: Session, workload: str, group_id: str) -> GroupRow | None:
    return session.get(GroupRow, (workload, group_id))


def bands(session: Session, workload: str, keys: Sequence[int]) -> Sequence[Band]:
    query = select(BandRow.band, BandRow.group_id, BandRow.text_id)
    found = session.exec(query.where(BandRow.workload == workload, col(BandRow.band).in_(keys)))
    return [Band(*row) for row in found]


def add_bands(session: Session, workload: str, keys: Iterable[int], group_id: str, text_id: str) -> None:
    rows = [{"workload": workload, "band": key, "group_id": group_id, "text_id": text_id} for key in keys]
    if rows:
        # Past the ORM: 20 rows for each new prompt, which nobody needs as objects.
        session.connection().execute(insert(BandRow.__table__), rows)  # type: ignore[attr-defined]


def neighbours(session: Session, workload: str, text_ids: Sequence[str]) -> list[Neighbour]:
    query = (
        select(PromptRow.group_id, GroupRow.split, PromptRow.shingles, PromptRow.straddles)
        .join(
            GroupRow,
            and_(col(GroupRow.workload) == PromptRow.workload, col(GroupRow.group_id) == PromptRow.group_id),
        )
        .where(PromptRow.workload == workload, col(PromptRow.text_id).in_(text_ids))
    )
    return [Neighbour(g, _split(s), from_bytes(b), x) for g, s, b, x in session.exec(query) if b is not None]


def prompts_with_other_bands(session: Session, workload: str, band_rows: int, limit: int) -> Sequence[PromptRow]:
    query = select(PromptRow).where(
        PromptRow.workload == workload, PromptRow.band_rows != band_rows, col(PromptRow.shingles).is_not(None)
    )
    return session.exec(query.limit(limit)).all()


def to_bytes(shingles: Shingles) -> bytes:
    return shingles.astype("<u8").tobytes()


def from_bytes(stored: bytes) -> Shingles:
    return np.frombuffer(stored, dtype="<u8").astype(np.uint64)


# --- the way to the desk ---


def shown_today(session: Session, workload: str, split: Split, today: str) -> int:
    query = select(func.count()).where(
        SampleRow.workload == workload, SampleRow.shown_on == today, SampleRow.split == split
    )
    return session.exec(query).one()


def candidates(session: Session, workload: str, split: Split, recent: str, limit: int) -> list[Candidate]:
    """Nominated samples whose prompt is not on the desk and whose question was not shown lately, in the queue's order.

    recent: the first UTC day that is lately. In training groups a question comes again at any time when another version
    answered it and a user did not like the answer. In the holdout it does not: feedback must not make a holdout sample
    more likely to be seen.
    """
    other = aliased(SampleRow)
    shown = and_(
        col(other.workload) == workload,
        col(other.question) == SampleRow.question,
        (col(other.state) == "waiting") | ((col(other.state) == "done") & (col(other.shown_on) >= recent)),
    )
    if split == "train":
        disliked = col(SampleRow.signals).contains(f'"{Signal.NEGATIVE_FEEDBACK}"')
        shown = and_(shown, ~and_(disliked, col(other.version) != SampleRow.version))
    twin = aliased(SampleRow)
    query = (
        select(SampleRow.answer_id, SampleRow.question, SampleRow.text_id)
        .where(
            SampleRow.workload == workload,
            SampleRow.state == "nominated",
            SampleRow.split == split,
            ~exists().where(shown),
            ~exists().where(
                col(twin.workload) == workload,
                col(twin.text_id) == SampleRow.text_id,
                col(twin.state) == "waiting",
            ),
        )
        .order_by(col(SampleRow.place), col(SampleRow.answer_id))
        .limit(limit)
    )
    return [Candidate(*row) for row in session.exec(query)]


def on_desk(session: Session, workload: str, state: str, limit: int, after: SampleRow | None) -> Sequence[SampleRow]:
    """In the queue's order. state: "waiting" or "done"; after: go on behind this sample."""
    query = select(SampleRow).where(SampleRow.workload == workload, SampleRow.state == state)
    if after is not None and after.place is not None:
        place, answer_id = col(SampleRow.place), col(SampleRow.answer_id)
        query = query.where((place > after.place) | ((place == after.place) & (answer_id > after.answer_id)))
    return session.exec(query.order_by(col(SampleRow.place), col(SampleRow.answer_id)).limit(limit)).all()


def show(session: Session, answer_ids: Sequence[str], today: str) -> None:
    session.execute(
        update(SampleRow)
        .where(col(SampleRow.answer_id).in_(answer_ids), col(SampleRow.state) == "nominated")
        .values(state="waiting", shown_on=today)
        .execution_options(synchronize_session="fetch")
    )


def put_back(session: Session, answer_ids: Sequence[str]) -> None:
    """What the desk can never show leaves the queue; feedback may bring it back."""
    session.execute(
        update(SampleRow)
        .where(col(SampleRow.answer_id).in_(answer_ids), col(SampleRow.state) == "nominated")
        .values(state="stored", place=None)
        .execution_options(synchronize_session="fetch")
    )


# --- corrections and examples ---


def correction(session: Session, correction_id: str) -> CorrectionRow | None:
    return session.get(CorrectionRow, correction_id)


def corrections_of(session: Session, sample_id: str) -> Sequence[CorrectionRow]:
    """Oldest first; the one that nothing superseded stands."""
    query = select(CorrectionRow).where(CorrectionRow.sample_id == sample_id)
    return session.exec(query.order_by(col(CorrectionRow.corrected_at), col(CorrectionRow.correction_id))).all()


def standing_correction(session: Session, sample_id: str) -> CorrectionRow | None:
    return standing_corrections(session, [sample_id]).get(sample_id)


def standing_corrections(session: Session, sample_ids: Iterable[str]) -> dict[str, CorrectionRow]:
    """By sample; those that wait for a second opinion or for a reviewer do not stand."""
    query = select(CorrectionRow).where(
        col(CorrectionRow.sample_id).in_(list(sample_ids)),
        col(CorrectionRow.superseded_by).is_(None),
        col(CorrectionRow.outcome).not_in(OPEN),
    )
    return {row.sample_id: row for row in session.exec(query)}


def example(session: Session, example_id: str) -> ExampleRow | None:
    return session.get(ExampleRow, example_id)


def example_of(session: Session, correction_id: str) -> ExampleRow | None:
    return session.exec(select(ExampleRow).where(ExampleRow.correction_id == correction_id)).first()


def active_example_on(session: Session, sample_id: str) -> str | None:
    query = select(ExampleRow.example_id).where(ExampleRow.sample_id == sample_id, ExampleRow.state == "active")
    return session.exec(query).first()


def taught_near(
    session: Session, taken: SampleRow, ideal_sha256: str
) -> Sequence[tuple[ExampleRow, CorrectionRow, SampleRow]]:
    """Active examples of the sample's group that share its question or the ideal answer, the latest first."""
    query = (
        select(ExampleRow, CorrectionRow, SampleRow)
        .join(CorrectionRow, col(CorrectionRow.correction_id) == ExampleRow.correction_id)
        .join(SampleRow, col(SampleRow.answer_id) == ExampleRow.sample_id)
        .where(
            ExampleRow.workload == taken.workload,
            ExampleRow.group_id == taken.group_id,
            ExampleRow.state == "active",
            (col(ExampleRow.question) == taken.question) | (col(ExampleRow.ideal_sha256) == ideal_sha256),
        )
        .order_by((col(ExampleRow.question) == taken.question).desc(), col(ExampleRow.curated_at).desc())
        .limit(MOST_NEIGHBOURS)
    )
    return session.exec(query).all()


def retire(session: Session, example_id: str, successor: str | None) -> None:
    row = session.get(ExampleRow, example_id)
    if row is not None and row.state == "active":
        row.state, row.superseded_by = "retired", successor
        session.add(row)
        session.flush()  # the successor's row may only come after: one active example of a question


def retired(session: Session, workload: str, split: Split) -> int:
    query = select(func.count()).where(
        ExampleRow.workload == workload, ExampleRow.split == split, ExampleRow.state == "retired"
    )
    return session.exec(query).one()


def visible_examples(session: Session, workload: str, split: Split) -> Iterator[tuple[str, str, str, str, str, str]]:
    """(example_id, group_id, kind, messages, ideal, answer) by id, from the view that sees this split and no other."""
    statement = text(
        f"SELECT example_id, group_id, kind, messages, ideal, answer FROM {VIEW_OF[split]} "
        "WHERE workload = :workload ORDER BY example_id"
    )
    for row in session.execute(statement.execution_options(yield_per=500), {"workload": workload}):
        yield row[0], row[1], row[2], row[3], row[4], row[5]


def knowledge_gaps(session: Session, workload: str | None) -> Sequence[tuple[CorrectionRow, SampleRow]]:
    """The retrieval backlog, newest first; a gap that a later verdict on the same sample closed is gone."""
    query = (
        select(CorrectionRow, SampleRow)
        .join(SampleRow, col(SampleRow.answer_id) == CorrectionRow.sample_id)
        .where(CorrectionRow.outcome == "knowledge_gap", col(CorrectionRow.superseded_by).is_(None))
        .order_by(col(CorrectionRow.corrected_at).desc())
    )
    return session.exec(query if workload is None else query.where(CorrectionRow.workload == workload)).all()


def sha256(text_: str) -> str:
    return hashlib.sha256(text_.encode("utf-8", "surrogatepass")).hexdigest()


def _split(value: str) -> Split:
    return "holdout" if value == "holdout" else "train"
