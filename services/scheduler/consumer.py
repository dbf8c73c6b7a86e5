"""Event -> handler: the whole of what the scheduler listens to."""

from collections.abc import Callable

from sqlalchemy import Engine

from services.scheduler.handlers import count_example, forget_example, remember_verdict
from shared import topics
from shared.bus import Bus
from shared.consumer import ConsumerLoop, Handler
from shared.events import CandidateJudged, Event, ExampleCurated, ExampleRetired

SERVICE = "scheduler"
HANDLERS: dict[type[Event], list[Handler]] = {
    ExampleCurated: [count_example],
    ExampleRetired: [forget_example],
    CandidateJudged: [remember_verdict],
}


def consumer(
    engine: Engine, bus: Bus, *, on_crash: Callable[[BaseException], None], after_commit: Callable[[], None]
) -> ConsumerLoop:
    return ConsumerLoop(
        service=SERVICE,
        engine=engine,
        bus=bus,
        handlers=HANDLERS,
        listens_to=(topics.CURATION, topics.PROMOTION),
        on_crash=on_crash,
        after_commit=after_commit,
    )
