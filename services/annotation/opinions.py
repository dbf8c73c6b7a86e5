"""Responses of a desk that keeps its own, each recorded once: what changed there changes here.

Reads: a desk's verdicts with their source
Emits: what `verdicts.stand` emits, once enough annotators agree or a reviewer has spoken
Twice: a response that has not changed since is skipped; of two processes that see it first, one records it.
Fails: a response to a sample that is not here is noted and left alone. Nobody commits here.

Where one answer an item is enough, a response is a correction, and the last one on a sample stands. Where two or
three are asked, corrections wait ("awaits_another") until so many have answered; then one stands and the others point
to it, or all are "disputed" until a reviewer's stands. A reviewer's word is the last.
"""

import json
import logging
from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import Session, col, select

from services.annotation import metrics, repository
from services.annotation.desk import Source, Verdict
from services.annotation.handlers import Now, Workloads, declared
from services.annotation.settling import Agreed, AwaitsAnother, Disputed, Opinion, label_of, same_ideal, settle
from services.annotation.tables import CorrectionRow, DisputeRow, GoldRow, OpinionRow, SampleRow
from services.annotation.verdicts import UnknownItem, keep, on_the_desk, record_verdict, stand
from shared.db import insert_once
from shared.outbox import Outbox

log = logging.getLogger(__name__)
CHUNK = 500


def unseen(session: Session, given: Sequence[Verdict]) -> list[Verdict]:
    """Those that are new or have changed, in their order."""
    known: dict[str, str] = {}
    ids = [verdict.source.response_id for verdict in given if verdict.source]
    for start in range(0, len(ids), CHUNK):
        query = select(OpinionRow.response_id, OpinionRow.changed_at)
        known |= dict(session.exec(query.where(col(OpinionRow.response_id).in_(ids[start : start + CHUNK]))).all())
    return [v for v in given if v.source is None or known.get(v.source.response_id) != v.source.changed_at]


def record_opinion(
    given: Verdict, source: Source, session: Session, outbox: Outbox, *, workloads: Workloads, now: Now
) -> bool:
    """Whether it was news."""
    gold = session.get(GoldRow, given.sample_id)
    sample = repository.sample(session, given.sample_id)
    workload = gold.workload if gold else sample.workload if sample else ""
    former = session.get(OpinionRow, source.response_id)
    former_correction = former.correction_id if former else None
    if not _claim(session, given, source, workload, former):
        return False
    if gold is not None:
        _score(session, given, source, gold, workloads)
        return True
    if sample is None:
        log.warning("%s", UnknownItem(f"the desk has a response to {given.sample_id!r}, which is no sample here"))
        return True
    if sample.state == "nominated":  # pushed, and the process ended before it could say so
        repository.show(session, [sample.answer_id], now()[:10])
        session.refresh(sample)
    on_the_desk(session, sample.answer_id)
    if source.final or declared(workloads, sample.workload).desk.answers_per_item == 1:
        correction_id = record_verdict(given, session, outbox, workloads=workloads, now=now).correction_id
        _close(session, sample, correction_id)
    else:
        correction_id = _one_of_several(given, sample, former_correction, session, outbox, workloads, now)
    session.flush()
    _remember(session, source, correction_id=correction_id)
    return True


def disputes(session: Session, limit: int) -> list[tuple[SampleRow, list[CorrectionRow]]]:
    """Those no reviewer was asked about yet, with what was said."""
    query = select(DisputeRow).where(DisputeRow.state == "open").order_by(col(DisputeRow.opened_at)).limit(limit)
    found = []
    for row in session.exec(query).all():
        sample = repository.sample(session, row.sample_id)
        if sample is not None:
            said = [c for c in repository.corrections_of(session, row.sample_id) if c.outcome == "disputed"]
            found.append((sample, said))
    return found


def asked(session: Session, sample_ids: Sequence[str]) -> None:
    session.execute(
        update(DisputeRow)
        .where(col(DisputeRow.sample_id).in_(sample_ids), col(DisputeRow.state) == "open")
        .values(state="asked")
        .execution_options(synchronize_session="fetch")
    )


def _claim(session: Session, given: Verdict, source: Source, workload: str, former: OpinionRow | None) -> bool:
    """Takes the response's present state for this transaction; False: it is known."""
    label = label_of(given.verdict, given.reasons)
    if former is None:
        return insert_once(
            session,
            OpinionRow(
                response_id=source.response_id,
                sample_id=given.sample_id,
                workload=workload,
                annotator=given.annotator,
                changed_at=source.changed_at,
                label=label,
                final=source.final,
            ),
        )
    if former.changed_at == source.changed_at:
        return False
    result = session.connection().execute(
        update(OpinionRow)
        .where(col(OpinionRow.response_id) == source.response_id, col(OpinionRow.changed_at) == former.changed_at)
        .values(changed_at=source.changed_at, label=label, workload=workload)
    )
    session.expire(former)
    return result.rowcount == 1


def _remember(session: Session, source: Source, **values: object) -> None:
    session.connection().execute(
        update(OpinionRow).where(col(OpinionRow.response_id) == source.response_id).values(**values)
    )


def _score(session: Session, given: Verdict, source: Source, gold: GoldRow, workloads: Workloads) -> None:
    label, workload = label_of(given.verdict, given.reasons), workloads.get(gold.workload)
    is_json = workload is not None and workload.answer_schema is not None
    right = label == gold.label and (label != "fix" or same_ideal(given.ideal, gold.ideal, is_json=is_json))
    _remember(session, source, gold_right=right)


def _one_of_several(
    given: Verdict,
    sample: SampleRow,
    former_correction: str | None,
    session: Session,
    outbox: Outbox,
    workloads: Workloads,
    now: Now,
) -> str:
    workload = declared(workloads, sample.workload)
    standing = repository.standing_correction(session, sample.answer_id)
    row = keep(given, sample, session, now=now)
    session.flush()
    former = repository.correction(session, former_correction) if former_correction else None
    if former is not None and former.superseded_by is None and former is not standing:
        former.superseded_by = row.correction_id
        session.add(former)
    if _reviewed(session, sample):
        row.outcome, row.superseded_by = "overruled", standing.correction_id if standing else None
        return row.correction_id
    opinions = _opinions(session, sample, given, row)
    known = standing.correction_id if standing else None
    is_json = workload.answer_schema is not None
    match settle(opinions, workload.desk.answers_per_item, known, is_json=is_json):
        case AwaitsAnother():
            pass
        case Agreed(correction_id):
            if correction_id != known:
                chosen = repository.correction(session, correction_id)
                assert chosen is not None
                chosen.superseded_by = None
                stand(chosen, sample, session, outbox, workloads=workloads, now=now)
            session.flush()
            _close(session, sample, correction_id)
        case Disputed():
            _dispute(session, sample, [o.correction_id for o in opinions if o.correction_id != known], now)
    return row.correction_id


def _opinions(session: Session, sample: SampleRow, given: Verdict, row: CorrectionRow) -> list[Opinion]:
    """The last word of each annotator, the oldest first."""
    query = select(OpinionRow).where(OpinionRow.sample_id == sample.answer_id, col(OpinionRow.final).is_(False))
    last: dict[str, CorrectionRow] = {given.annotator: row}
    for opinion in session.exec(query).all():
        if opinion.annotator != given.annotator and opinion.correction_id is not None:
            correction = repository.correction(session, opinion.correction_id)
            if correction is not None:
                last[opinion.annotator] = correction
    said = sorted(last.values(), key=lambda c: (c.corrected_at, c.correction_id))
    return [Opinion(c.correction_id, c.annotator, label_of(c.verdict, json.loads(c.reasons)), c.ideal) for c in said]


def _reviewed(session: Session, sample: SampleRow) -> bool:
    query = select(OpinionRow.response_id).where(
        OpinionRow.sample_id == sample.answer_id, col(OpinionRow.final).is_(True)
    )
    return session.exec(query).first() is not None


def _dispute(session: Session, sample: SampleRow, correction_ids: Sequence[str], now: Now) -> None:
    session.execute(
        update(CorrectionRow)
        .where(col(CorrectionRow.correction_id).in_(correction_ids))
        .values(outcome="disputed", superseded_by=None)
        .execution_options(synchronize_session="fetch")
    )
    known = session.get(DisputeRow, sample.answer_id)
    if known is None:
        session.add(DisputeRow(sample_id=sample.answer_id, workload=sample.workload, opened_at=now()))
        metrics.DISPUTES.labels(sample.workload).inc()
    elif known.state == "closed":
        known.state = "open"
        session.add(known)


def _close(session: Session, sample: SampleRow, correction_id: str) -> None:
    """What was open on the sample points to the correction that counts."""
    session.flush()
    session.execute(
        update(CorrectionRow)
        .where(
            col(CorrectionRow.sample_id) == sample.answer_id,
            col(CorrectionRow.outcome).in_(repository.OPEN),
            col(CorrectionRow.correction_id) != correction_id,
        )
        .values(outcome="settled", superseded_by=correction_id)
        .execution_options(synchronize_session="fetch")
    )
    known = session.get(DisputeRow, sample.answer_id)
    if known is not None:
        known.state = "closed"
        session.add(known)
