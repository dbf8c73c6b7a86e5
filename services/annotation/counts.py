"""The figures people and metrics see: how far each workload is. Queries only."""

from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, select

from services.annotation.advice import Figures
from services.annotation.tables import CorrectionRow, ExampleRow, GroupRow, PromptRow, SampleRow

Condition = ColumnElement[bool] | bool


def figures(session: Session, workload: str, today: str) -> Figures:
    """today: the UTC day, 2026-11-20."""
    states = _by(session, col(SampleRow.state), col(SampleRow.workload) == workload)
    examples, groups = _examples(session, workload)
    opened, largest, total, keyed = session.exec(
        select(
            func.count(),
            func.coalesce(func.max(GroupRow.samples), 0),
            func.coalesce(func.sum(GroupRow.samples), 0),
            func.coalesce(func.sum(GroupRow.samples).filter(col(GroupRow.from_application)), 0),
        ).where(GroupRow.workload == workload)
    ).one()
    indexed = (col(PromptRow.workload) == workload, col(PromptRow.band_rows) > 0)
    crowded = col(PromptRow.bands) * col(PromptRow.band_rows) * 2 < 128
    return Figures(
        samples=sum(states.values()),
        nominated=states.get("nominated", 0),
        waiting=states.get("waiting", 0),
        corrected=states.get("done", 0),
        corrected_today=_count(session, SampleRow.workload == workload, SampleRow.done_on == today),
        shown_today=_count(session, SampleRow.workload == workload, SampleRow.shown_on == today),
        train=examples.get("train", 0),
        holdout=examples.get("holdout", 0),
        train_groups=groups.get("train", 0),
        holdout_groups=groups.get("holdout", 0),
        rejected=_by(
            session, col(CorrectionRow.refusal), CorrectionRow.workload == workload, CorrectionRow.outcome == "rejected"
        ),
        knowledge=_count(
            session,
            CorrectionRow.workload == workload,
            CorrectionRow.outcome == "knowledge_gap",
            col(CorrectionRow.superseded_by).is_(None),
        ),
        groups=opened,
        largest_group=largest,
        without_key=total - keyed,
        prompts=_count(session, *indexed),
        crowded_prompts=_count(session, *indexed, crowded),
        straddling=_count(session, SampleRow.workload == workload, col(SampleRow.straddles).is_(True)),
    )


def _examples(session: Session, workload: str) -> tuple[dict[str, int], dict[str, int]]:
    """Active examples by split, and their groups by split."""
    query = (
        select(ExampleRow.split, func.count(), func.count(func.distinct(ExampleRow.group_id)))
        .where(ExampleRow.workload == workload, ExampleRow.state == "active")
        .group_by(ExampleRow.split)
    )
    rows = session.exec(query).all()
    return {split: n for split, n, _ in rows}, {split: n for split, _, n in rows}


def _by(session: Session, column: Mapped[Any], *conditions: Condition) -> dict[str, int]:
    return {str(k): n for k, n in session.exec(select(column, func.count()).where(*conditions).group_by(column))}


def _count(session: Session, *conditions: Condition) -> int:
    return session.exec(select(func.count()).where(*conditions)).one()


def on_the_way(session: Session, workload: str) -> tuple[int, int]:
    """(nominated, waiting)"""
    of_workload = SampleRow.workload == workload
    nominated = _count(session, of_workload, SampleRow.state == "nominated")
    return nominated, _count(session, of_workload, SampleRow.state == "waiting")
