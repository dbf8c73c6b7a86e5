"""Which event calls which handler: annotation read in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from services.annotation import handlers
from services.annotation.handlers import Now, Workloads
from shared import topics
from shared.consumer import Handler
from shared.events import AnswerServed, Event, FeedbackGiven
from shared.outbox import Outbox

LISTENS_TO = (topics.ANSWERS, topics.FEEDBACK)


def handlers_of(workloads: Workloads, now: Now) -> Mapping[type[Event], Sequence[Handler]]:
    """Storing an answer or a feedback emits nothing, so these handlers need no outbox."""

    def store_answer(event: Any, session: Session, _outbox: Outbox) -> None:
        handlers.store_answer(event, session, workloads=workloads, now=now)

    def keep_feedback(event: Any, session: Session, _outbox: Outbox) -> None:
        handlers.keep_feedback(event, session, workloads=workloads, now=now)

    return {AnswerServed: [store_answer], FeedbackGiven: [keep_feedback]}
