"""How annotators do, by workload: agreement, gold items, what waits for another opinion. Queries and their metrics."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import func
from sqlmodel import Session, col, select

from services.annotation import metrics
from services.annotation.agreement import alpha, alpha_of
from services.annotation.tables import CorrectionRow, DisputeRow, OpinionRow

LATEST = 20_000  # opinions that figures are made of


@dataclass(frozen=True, slots=True)
class AnnotatorFigures:
    answers: int
    alpha: float | None
    gold_answers: int
    gold_right_share: float | None


@dataclass(frozen=True, slots=True)
class DeskFigures:
    alpha: float | None
    awaiting_another: int
    disputed: int
    annotators: dict[str, AnnotatorFigures] = field(default_factory=dict)


def desk_figures(session: Session, workload: str) -> DeskFigures:
    query = select(OpinionRow).where(OpinionRow.workload == workload, col(OpinionRow.final).is_(False))
    rows = session.exec(query.order_by(col(OpinionRow.changed_at).desc()).limit(LATEST)).all()
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    gold: dict[str, Counter[bool]] = defaultdict(Counter)
    given: Counter[str] = Counter()
    for row in rows:
        if row.gold_right is not None:
            gold[row.annotator][row.gold_right] += 1
        elif row.correction_id is not None:
            answers[row.sample_id].setdefault(row.annotator, row.label)
            given[row.annotator] += 1
    return DeskFigures(
        alpha=alpha(answers),
        awaiting_another=_samples(session, workload, "awaits_another"),
        disputed=session.exec(
            select(func.count()).where(DisputeRow.workload == workload, DisputeRow.state != "closed")
        ).one(),
        annotators={
            name: AnnotatorFigures(
                answers=given[name],
                alpha=alpha_of(name, answers),
                gold_answers=gold[name].total(),
                gold_right_share=gold[name][True] / gold[name].total() if gold[name] else None,
            )
            for name in sorted({*given, *gold})
        },
    )


def measure(session: Session, workloads: Iterable[str]) -> None:
    """A figure that says nothing yet has no series."""
    for name in workloads:
        found = desk_figures(session, name)
        metrics.DISPUTED.labels(name).set(found.disputed)
        if found.alpha is not None:
            metrics.ALPHA.labels(name).set(found.alpha)
        for annotator, figures in found.annotators.items():
            if figures.alpha is not None:
                metrics.ANNOTATOR_ALPHA.labels(name, annotator).set(figures.alpha)
            if figures.gold_right_share is not None:
                metrics.GOLD_RIGHT.labels(name, annotator).set(figures.gold_right_share)


def _samples(session: Session, workload: str, outcome: str) -> int:
    return session.exec(
        select(func.count(func.distinct(CorrectionRow.sample_id))).where(
            CorrectionRow.workload == workload,
            CorrectionRow.outcome == outcome,
            col(CorrectionRow.superseded_by).is_(None),
        )
    ).one()
