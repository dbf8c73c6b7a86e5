"""What the scheduler does about each event it hears.

Reads: ExampleCurated, ExampleRetired, CandidateJudged
Twice: an example is counted once, however often it is heard of; a verdict overwrites itself.
"""

from sqlmodel import Session

from services.scheduler import repository
from shared.events import CandidateJudged, ExampleCurated, ExampleRetired
from shared.outbox import Outbox


def count_example(event: ExampleCurated, session: Session, _outbox: Outbox) -> None:
    """Holdout examples are nobody's training. One that took another's place is new, the other no longer."""
    if event.split != "train":
        return
    repository.add_example(session, event.example_id, event.workload)
    if event.supersedes is not None:
        repository.retire_example(session, event.supersedes, event.workload)


def forget_example(event: ExampleRetired, session: Session, _outbox: Outbox) -> None:
    """An expert found that it should not teach; a training of it would be asked for in vain."""
    repository.retire_example(session, event.example_id, event.workload)


def remember_verdict(event: CandidateJudged, session: Session, _outbox: Outbox) -> None:
    """For status only: what became of the last training."""
    repository.remembered(session, event.workload).last_verdict = {
        "version": event.version,
        "champion": event.champion,
        "verdict": event.verdict,
        "reasons": list(event.reasons),
    }
