"""What a verdict on an item is worth: a correction, and what curation makes of it.

Reads: a desk's verdicts
Emits: SampleCorrected, then ExampleRetired where a discard or a knowledge gap ends an example, then one of
       ExampleCurated, ExampleRejected, KnowledgeGapFound, or nothing for a discard
Twice: the same verdict by the same person, while it stands, is the same correction; nothing is emitted.
Fails: an item that is not there or not on the desk is Unusable (404, 409). Nobody commits here.
"""

import json
from dataclasses import dataclass
from typing import get_args

from sqlmodel import Session

from services.annotation import metrics, repository
from services.annotation.curation import (
    Accepted,
    Correction,
    Discarded,
    KnowledgeGap,
    Outcome,
    Reason,
    Refused,
    Taught,
    VerdictWord,
    curate,
    ideal_of,
    normalised,
    slip_of,
)
from services.annotation.desk import Verdict
from services.annotation.grouping import asked, text_of
from services.annotation.handlers import Now, Workloads, declared
from services.annotation.tables import CorrectionRow, ExampleRow, SampleRow
from shared.chat import NotText, text_messages
from shared.errors import Unusable
from shared.events import ExampleCurated, ExampleRejected, ExampleRetired, KnowledgeGapFound, SampleCorrected
from shared.ids import uuid7
from shared.outbox import Outbox
from shared.workloads import Workload


class UnknownItem(Unusable):
    """No sample has this id."""


class NotOnTheDesk(Unusable):
    """The sample is there, but no expert was asked about it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    correction_id: str
    created: bool  # False: the same verdict was there already


@dataclass(frozen=True, slots=True)
class Said:
    """What of a verdict curation looks at."""

    verdict: VerdictWord
    ideal: str | None  # normalised
    reasons: frozenset[Reason]


def slip_in(given: Verdict, session: Session, *, workloads: Workloads) -> Refused | None:
    """What the expert can mend at once; a desk that can answer says it before anything is kept."""
    sample = on_the_desk(session, given.sample_id)
    said = Said(given.verdict, _ideal(given, sample), given.reasons)
    return slip_of(_correction(said, sample), declared(workloads, sample.workload).answer_schema)


def record_verdict(given: Verdict, session: Session, outbox: Outbox, *, workloads: Workloads, now: Now) -> Recorded:
    """Keeps the verdict as a correction, and what curation makes of it. The last verdict on a sample stands."""
    sample = on_the_desk(session, given.sample_id)
    standing = repository.standing_correction(session, sample.answer_id)
    if standing is not None and _same(standing, given, sample):
        return Recorded(standing.correction_id, created=False)
    row = keep(given, sample, session, now=now)
    stand(row, sample, session, outbox, workloads=workloads, now=now)
    return Recorded(row.correction_id, created=True)


def keep(given: Verdict, sample: SampleRow, session: Session, *, now: Now) -> CorrectionRow:
    """A row for what was said, of which nothing follows yet."""
    row = CorrectionRow(
        correction_id=uuid7(),
        sample_id=sample.answer_id,
        workload=sample.workload,
        verdict=given.verdict,
        ideal=_ideal(given, sample),
        reasons=_reasons(given),
        annotator=given.annotator,
        comment=given.comment,
        corrected_at=now(),
        outcome="awaits_another",
    )
    session.add(row)
    return row


def stand(
    row: CorrectionRow, sample: SampleRow, session: Session, outbox: Outbox, *, workloads: Workloads, now: Now
) -> None:
    """What a correction that counts brings about; the one that stood before is superseded."""
    workload = declared(workloads, sample.workload)
    standing = repository.standing_correction(session, sample.answer_id)
    if standing is not None and standing.correction_id != row.correction_id:
        standing.superseded_by = row.correction_id
        session.add(standing)
    sample.state, sample.done_on = "done", now()[:10]
    session.add(sample)
    outbox.add(
        SampleCorrected(
            correction_id=row.correction_id,
            sample_id=sample.answer_id,
            workload=sample.workload,
            verdict=row.verdict,
        )
    )
    metrics.CORRECTIONS.labels(sample.workload, row.verdict).inc()
    _curate(_kept(row, sample), row, sample, workload, session, outbox)


def _curate(
    correction: Correction,
    row: CorrectionRow,
    sample: SampleRow,
    workload: Workload,
    session: Session,
    outbox: Outbox,
) -> None:
    ideal_sha256 = repository.sha256(ideal_of(correction))
    near = repository.taught_near(session, sample, ideal_sha256)
    taught = [Taught(e.example_id, e.question, _prompt(s), _taught(c, s)) for e, c, s in near]
    outcome = curate(correction, taught, workload.answer_schema)
    row.outcome = _outcome_word(outcome)
    match outcome:
        case Accepted():
            _teach(outcome, row, sample, ideal_sha256, session, outbox)
        case Refused():
            row.refusal, row.why = outcome.why.value, outcome.sentence
            metrics.REJECTED.labels(row.workload, outcome.why.value).inc()
            outbox.add(
                ExampleRejected(correction_id=row.correction_id, workload=row.workload, reason=outcome.why.value)
            )
        case KnowledgeGap():
            _retire(session, outbox, outcome.retires, row)
            metrics.GAPS.labels(row.workload).inc()
            outbox.add(KnowledgeGapFound(correction_id=row.correction_id, workload=row.workload))
        case Discarded():
            _retire(session, outbox, repository.active_example_on(session, sample.answer_id), row)
    session.add(row)


def _teach(
    accepted: Accepted, row: CorrectionRow, sample: SampleRow, ideal_sha256: str, session: Session, outbox: Outbox
) -> None:
    example_id = f"ex-{row.correction_id}"
    if accepted.retires is not None:
        repository.retire(session, accepted.retires, example_id)
    example = ExampleRow(
        example_id=example_id,
        correction_id=row.correction_id,
        sample_id=sample.answer_id,
        workload=sample.workload,
        group_id=sample.group_id,
        split=sample.split,
        kind=accepted.kind,
        question=sample.question,
        ideal_sha256=ideal_sha256,
        curated_at=row.corrected_at,
    )
    session.add(example)
    session.flush()
    metrics.EXAMPLES.labels(sample.workload, sample.split).inc()
    outbox.add(
        ExampleCurated(
            example_id=example_id,
            correction_id=row.correction_id,
            workload=sample.workload,
            split=sample.split,
            group=sample.group_id,
            supersedes=accepted.retires,
        )
    )


def on_the_desk(session: Session, sample_id: str) -> SampleRow:
    sample = repository.sample(session, sample_id)
    if sample is None:
        raise UnknownItem(f"no sample has the id {sample_id!r}")
    if sample.state not in ("waiting", "done"):
        raise NotOnTheDesk(
            f"sample {sample_id} is not on the desk: experts correct what selection shows them, "
            "or the holdout would hold what somebody went looking for"
        )
    return sample


def _kept(row: CorrectionRow, sample: SampleRow) -> Correction:
    reasons = frozenset(Reason(r) for r in json.loads(row.reasons))
    return _correction(Said(_word(row.verdict), row.ideal, reasons), sample)


def _correction(given: Said, sample: SampleRow) -> Correction:
    not_text = _not_text(given, sample)
    return Correction(
        given.verdict, given.ideal, given.reasons, sample.question, _prompt(sample), sample.answer, not_text
    )


def _not_text(given: Said, sample: SampleRow) -> str | None:
    """Why the sample cannot teach a model that learns from text alone; the same rule as training's (shared/chat.py)."""
    messages = json.loads(sample.messages)
    if not messages:
        return "nothing was asked: the conversation has no message"
    try:
        text_messages(messages)
    except NotText as error:
        return str(error)
    if given.verdict == "good" and json.loads(sample.tool_calls):
        return 'the answer calls tools, which a text cannot say; if a text was the right answer, say "fix" and write it'
    return None


def _prompt(sample: SampleRow) -> str:
    return "\n".join(text_of(m.get("content")) for m in asked(json.loads(sample.messages)))


def _taught(row: CorrectionRow, sample: SampleRow) -> str:
    """What an example teaches: for "good" that is the model's own answer."""
    return normalised(sample.answer) if row.verdict == "good" else (row.ideal or "")


def _ideal(given: Verdict, sample: SampleRow) -> str | None:
    """Kept for a fix, and where "good" came with an edit: otherwise that means the model's answer."""
    if given.verdict == "discard" or given.ideal is None:
        return None
    if given.verdict == "good" and given.ideal.strip() == normalised(sample.answer).strip():
        return None
    return normalised(given.ideal)


def _word(verdict: str) -> VerdictWord:
    return next(word for word in get_args(VerdictWord) if word == verdict)


def _reasons(given: Verdict) -> str:
    return json.dumps(sorted(given.reasons))


def _same(row: CorrectionRow, given: Verdict, sample: SampleRow) -> bool:
    return (row.verdict, row.ideal, row.reasons, row.annotator, row.comment) == (
        given.verdict,
        _ideal(given, sample),
        _reasons(given),
        given.annotator,
        given.comment,
    )


def _retire(session: Session, outbox: Outbox, example_id: str | None, row: CorrectionRow) -> None:
    if example_id is not None:
        repository.retire(session, example_id, successor=None)
        outbox.add(ExampleRetired(example_id=example_id, workload=row.workload, why=row.outcome))


def _outcome_word(outcome: Outcome) -> str:
    match outcome:
        case Accepted():
            return "example"
        case Refused():
            return "rejected"
        case KnowledgeGap():
            return "knowledge_gap"
        case Discarded():
            return "discarded"
