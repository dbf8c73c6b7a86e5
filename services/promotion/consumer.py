"""Which fact goes to which use-case. The whole of what promotion listens to."""

from collections.abc import Mapping, Sequence
from functools import partial

from services.promotion.fleet import Fleet
from services.promotion.handlers import note_evaluation, note_failure, register_candidate
from shared import topics
from shared.consumer import Handler
from shared.events import CandidateTrained, Event, JobFailed, VersionsEvaluated

LISTENS_TO = (topics.JOBS,)


def handlers(fleet: Fleet) -> Mapping[type[Event], Sequence[Handler]]:
    return {
        CandidateTrained: [partial(register_candidate, fleet=fleet)],
        VersionsEvaluated: [note_evaluation],
        JobFailed: [note_failure],
    }
