from datetime import UTC, datetime

import pytest

from services.scheduler import repository
from services.scheduler.tables import JobRow, WorkloadRow
from services.scheduler.triggers import Wait
from shared.db import transaction
from shared.errors import Unavailable
from tests.services.scheduler.stage import Stage, deployment, until


def curate(stage: Stage, count: int, first: int = 0) -> None:
    with transaction(stage.engine) as session:
        for number in range(first, first + count):
            repository.add_example(session, f"e{number}", "triage")


def jobs(stage: Stage) -> list[JobRow]:
    with transaction(stage.engine) as session:
        return list(repository.jobs(session, workload=None, state=None, kind=None, limit=100))


def end(stage: Stage, job_id: str) -> None:
    with transaction(stage.engine) as session:
        row = session.get_one(JobRow, job_id)
        row.state, row.finished_at = "done", stage.now


def test_enough_new_examples_start_one_training(stage: Stage) -> None:
    ticker = stage.ticker()
    curate(stage, 49)
    ticker.tick()
    assert jobs(stage) == []
    curate(stage, 1, first=49)
    ticker.tick()
    ticker.tick()
    (job,) = jobs(stage)
    assert (job.trigger, job.why) == ("count", "50 new examples, 50 are enough")


def test_the_cooldown_passes_before_the_next_training(stage: Stage) -> None:
    ticker = stage.ticker()
    curate(stage, 60)
    ticker.tick()
    end(stage, jobs(stage)[0].id)
    curate(stage, 60, first=60)
    stage.examples = 120
    stage.now += 59 * 60
    ticker.tick()
    assert len(jobs(stage)) == 1
    stage.now += 61
    ticker.tick()
    assert len(jobs(stage)) == 2


def nightly(stage: Stage) -> Stage:
    built = Stage(stage.folder, deployment(cron="0 2 * * *", min_new_examples=1000, cooldown_minutes=0))
    built.now = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
    return built


def test_a_nightly_that_was_missed_runs_once_at_the_start(stage: Stage) -> None:
    stage = nightly(stage)
    stage.ticker().tick()  # first seen at noon: nothing was missed yet
    curate(stage, 20)
    stage.now += 3 * 86400  # down for three nights
    back = stage.ticker()
    back.tick()
    (job,) = jobs(stage)
    assert (job.trigger, job.why) == ("nightly", "the nightly training of 2026-03-03 02:00:00 UTC is due")
    end(stage, job.id)
    curate(stage, 20, first=60)
    back.tick()
    stage.ticker().tick()
    assert len(jobs(stage)) == 1


def test_a_night_without_new_examples_is_over_and_the_next_one_comes(stage: Stage) -> None:
    stage = nightly(stage)
    ticker = stage.ticker()
    ticker.tick()
    stage.now += 86400
    ticker.tick()
    assert (jobs(stage), stage.snapshots_taken) == ([], 0)
    curate(stage, 20)
    ticker.tick()
    assert jobs(stage) == []
    stage.now += 86400
    ticker.tick()
    assert len(jobs(stage)) == 1


def test_a_nightly_that_is_new_in_the_file_has_missed_nothing(stage: Stage) -> None:
    stage.ticker().tick()
    curate(stage, 20)
    stage.now += 30 * 86400
    later = Stage(stage.folder, deployment(cron="0 2 * * *"), now=stage.now)
    later.ticker().tick()
    assert jobs(later) == []


def test_a_refused_training_is_asked_for_again_when_examples_have_come(stage: Stage) -> None:
    stage = Stage(stage.folder, deployment(min_new_examples=5), examples=8)
    ticker = stage.ticker()
    curate(stage, 8)
    for _ in range(3):
        ticker.tick()
    assert (jobs(stage), stage.snapshots_taken) == ([], 1)
    with transaction(stage.engine) as session:
        standing = repository.standing(session, "triage", "default")
    decision = ticker.decision("triage", standing, stage.now)
    assert isinstance(decision, Wait)
    assert "a training needs at least 10" in decision.why
    stage.examples = 12
    curate(stage, 4, first=8)
    ticker.tick()
    assert len(jobs(stage)) == 1


def test_annotation_that_is_away_is_asked_again_and_the_night_is_not_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = nightly(stage)
    ticker = stage.ticker()
    ticker.tick()
    curate(stage, 20)
    stage.now += 86400
    answering = stage.intake.training_snapshot

    def away(_workload: str) -> None:
        raise Unavailable("annotation does not answer")

    object.__setattr__(stage.intake, "training_snapshot", away)
    ticker.tick()
    assert jobs(stage) == []
    object.__setattr__(stage.intake, "training_snapshot", answering)
    ticker.tick()
    assert [job.trigger for job in jobs(stage)] == ["nightly"]


def test_a_failed_snapshot_is_not_trained_again_by_itself(stage: Stage) -> None:
    stage = Stage(stage.folder, deployment(cooldown_minutes=0))
    ticker = stage.ticker()
    curate(stage, 60)
    ticker.tick()
    with transaction(stage.engine) as session:
        row = session.get_one(JobRow, jobs(stage)[0].id)
        row.state, row.live_key, row.error = "failed", None, "a bug"
        for used in session.exec(repository.select(repository.UsedExampleRow)).all():
            session.delete(used)
    stage.now += 1
    ticker.tick()
    ticker.tick()
    assert len(jobs(stage)) == 1
    curate(stage, 1, first=60)
    stage.examples = 61
    ticker.tick()
    assert len(jobs(stage)) == 2


def test_the_clockwork_ticks_at_the_start_and_when_it_is_woken(stage: Stage) -> None:
    ticker = stage.ticker()  # its own next tick would be a minute away
    ticker.start()
    try:
        until(lambda: _remembers(stage), "the first tick")
        curate(stage, 50)
        ticker.wake()
        until(lambda: jobs(stage), "the tick it was woken for")
    finally:
        ticker.stop()
    ticker.wake()


def _remembers(stage: Stage) -> bool:
    with transaction(stage.engine) as session:
        return session.get(WorkloadRow, "triage") is not None
