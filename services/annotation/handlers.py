"""What annotation does about each event it hears. One function a use-case, its dependencies as parameters.

Reads: AnswerServed, FeedbackGiven
Twice: an answer or a feedback that is known already changes nothing.
Late:  feedback that comes before its answer waits for it; feedback that comes after may still nominate the sample.
Fails: an answer of a workload that is not declared is Unusable (dead letter). Nobody commits here.
"""

import json
from collections.abc import Callable, Mapping

from sqlmodel import Session

from services.annotation import membership, metrics, repository
from services.annotation.answer_schema import schema_errors
from services.annotation.grouping import Split
from services.annotation.selection import Observed, Opinion, confidence_of, nominate, signals_of
from services.annotation.tables import FeedbackRow, SampleRow
from shared.errors import Unusable
from shared.events import AnswerServed, FeedbackGiven
from shared.workloads import Workload

Workloads = Mapping[str, Workload]
Now = Callable[[], str]  # RFC 3339, UTC: the first ten characters are the day


def store_answer(event: AnswerServed, session: Session, *, workloads: Workloads, now: Now) -> None:
    workload = declared(workloads, event.workload)
    if repository.sample(session, event.answer_id) is not None:
        return
    # Before anybody looks at the answer: the prompt alone decides the group and its side of the border.
    place = membership.place(session, event.workload, workload, event.messages, event.group)
    sample = SampleRow(
        answer_id=event.answer_id,
        workload=event.workload,
        version=event.version,
        messages=json.dumps(event.messages, ensure_ascii=False),
        answer=event.answer,
        tool_calls=json.dumps(event.tool_calls, ensure_ascii=False),
        finish_reason=event.finish_reason,
        mean_logprob=event.mean_logprob,
        conversation=event.conversation,
        end_user=event.user,
        client_abort=event.client_abort,
        served_at=event.served_at or now(),
        question=place.question,
        text_id=place.text_id,
        group_id=place.group_id,
        split=place.split,
        straddles=place.straddles,
        schema_errors=json.dumps(schema_errors(event.answer, workload.answer_schema), ensure_ascii=False),
    )
    _weigh(session, sample, workload)
    session.add(sample)
    metrics.SAMPLES.labels(event.workload).inc()


def keep_feedback(event: FeedbackGiven, session: Session, *, workloads: Workloads, now: Now) -> None:
    if session.get(FeedbackRow, event.feedback_id) is not None:
        return
    row = FeedbackRow(
        feedback_id=event.feedback_id,
        answer_id=event.answer_id,
        thumb=event.thumb,
        score=event.score,
        comment=event.comment,
        suggested_answer=event.suggested_answer,
        given_at=event.given_at or now(),
    )
    session.add(row)
    session.flush()
    metrics.FEEDBACK.inc()
    sample = repository.sample(session, event.answer_id)
    if sample is not None and sample.workload in workloads:
        _weigh(session, sample, workloads[sample.workload])
        session.add(sample)


def declared(workloads: Workloads, name: str) -> Workload:
    if name not in workloads:
        known = ", ".join(sorted(workloads))
        raise Unusable(f"workload {name!r} is not declared in ratchet.toml; declared: {known}")
    return workloads[name]


def _weigh(session: Session, sample: SampleRow, workload: Workload) -> None:
    """What stands out in the sample, and its place in the queue to the desk. Feedback never moves a holdout sample."""
    opinions = [
        Opinion(f.thumb, f.score, f.suggested_answer) for f in repository.feedback_on(session, sample.answer_id)
    ]
    split: Split = "holdout" if sample.split == "holdout" else "train"
    seen = Observed(
        answer_id=sample.answer_id,
        answer=sample.answer,
        split=split,
        straddles=sample.straddles,
        cut_off=sample.client_abort or sample.finish_reason == "error",
        schema_valid=sample.schema_errors == "[]",
        confidence=confidence_of(sample.mean_logprob),
        opinions=opinions,
    )
    signals = signals_of(seen, workload)
    for new in set(signals) - set(json.loads(sample.signals or "[]")):
        metrics.SIGNALS.labels(sample.workload, new).inc()
    sample.signals = json.dumps(signals)
    place = nominate(seen, workload)
    if place is None:
        return
    sample.place = place
    if sample.state == "stored":
        sample.state = "nominated"
