from services.scheduler import repository
from services.scheduler.consumer import HANDLERS
from services.scheduler.tables import WorkloadRow
from shared.db import transaction
from shared.events import CandidateJudged, Event, ExampleCurated, ExampleRetired
from shared.outbox import Outbox
from tests.services.scheduler.stage import Stage


def hears(stage: Stage, *events: Event) -> int:
    """The new examples after these events."""
    with transaction(stage.engine) as session:
        for event in events:
            for handle in HANDLERS[type(event)]:
                handle(event, session, Outbox(session, "scheduler"))
        session.flush()
        return repository.new_examples(session, "triage", "default")


def curated(example_id: str, split: str = "train", supersedes: str | None = None) -> ExampleCurated:
    return ExampleCurated(
        example_id=example_id, correction_id="c", workload="triage", split=split, group="g", supersedes=supersedes
    )


def test_only_training_examples_are_counted_and_each_once(stage: Stage) -> None:
    assert hears(stage, curated("e1"), curated("e1"), curated("e2"), curated("e3", split="holdout")) == 2
    assert hears(stage, curated("e1")) == 2


def test_an_example_that_takes_anothers_place_keeps_the_count(stage: Stage) -> None:
    assert hears(stage, curated("e1"), curated("e2", supersedes="e1")) == 1


def test_an_example_that_retired_before_it_was_heard_of_does_not_count(stage: Stage) -> None:
    assert hears(stage, curated("e2", supersedes="e1"), curated("e1")) == 1


def test_an_example_that_was_discarded_is_new_no_more_whichever_is_heard_first(stage: Stage) -> None:
    retired = ExampleRetired(example_id="e1", workload="triage", why="discarded")
    assert hears(stage, curated("e1"), curated("e2"), retired, retired) == 1
    assert hears(stage, ExampleRetired(example_id="e3", workload="triage", why="knowledge_gap"), curated("e3")) == 1


def test_the_last_verdict_is_remembered(stage: Stage) -> None:
    for verdict in ("REJECT", "PROMOTE"):
        event = CandidateJudged(
            workload="triage",
            version="triage@0123456789abcdef",
            champion="triage@base-00000000",
            verdict=verdict,
            reasons=["because"],
            report_uri="file:///r",
        )
        hears(stage, event)
    with transaction(stage.engine) as session:
        remembered = session.get_one(WorkloadRow, "triage")
    assert remembered.last_verdict is not None
    assert (remembered.last_verdict["verdict"], remembered.last_verdict["reasons"]) == ("PROMOTE", ["because"])
