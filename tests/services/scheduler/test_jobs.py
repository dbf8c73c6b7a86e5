"""The job table alone: many workers, no processes, a clock that is turned by hand."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from services.scheduler import jobs, repository
from services.scheduler.jobs import Claim, LeaseLost
from shared.db import transaction
from shared.events import CandidateTrained, JobFailed, JobStarted
from shared.outbox import Outbox
from tests.services.scheduler.stage import BY_COUNT, Stage

LEASE = 15.0


def claim(stage: Stage, worker: str = "w1", max_running: int = 1) -> Claim | None:
    with transaction(stage.engine) as session:
        return jobs.claim(
            session,
            Outbox(session, "scheduler"),
            worker=worker,
            now=stage.now,
            lease_seconds=LEASE,
            max_running=max_running,
            max_attempts=3,
        )


def claimed(stage: Stage, worker: str = "w1") -> Claim:
    held = claim(stage, worker)
    assert held is not None
    return held


def complete(stage: Stage, held: Claim) -> None:
    event = CandidateTrained(
        job_id=held.job_id,
        workload="triage",
        version="triage@0123456789abcdef",
        run_uri="file:///r",
        adapter_sha256="0" * 64,
        base="tiny",
        preset="default",
        snapshot_id="s",
        snapshot_uri="file:///s",
    )
    with transaction(stage.engine) as session:
        outbox = Outbox(session, "scheduler")
        jobs.complete(session, outbox, held, result={"run_uri": "file:///r"}, event=event, now=stage.now)


def retry(stage: Stage, held: Claim, not_before: float = 0.0) -> None:
    with transaction(stage.engine) as session:
        jobs.retry(session, held, error="it died", cause="died", not_before=not_before)


def fail(stage: Stage, held: Claim) -> None:
    with transaction(stage.engine) as session:
        jobs.fail(session, Outbox(session, "scheduler"), held, error="bad input", now=stage.now)


def renew(stage: Stage, held: Claim) -> None:
    with transaction(stage.engine) as session:
        jobs.renew(session, held, now=stage.now, lease_seconds=LEASE)


def release(stage: Stage, held: Claim) -> None:
    with transaction(stage.engine) as session:
        jobs.release(session, held)


def test_a_claimed_job_is_nobody_elses_while_its_lease_lasts(stage: Stage) -> None:
    stage.train()
    claimed(stage)
    stage.now += LEASE - 1
    assert claim(stage, "w2", max_running=2) is None
    assert stage.events() == [JobStarted(job_id=stage.events()[0].job_id, kind="train", workload="triage")]  # type: ignore[attr-defined]


def test_a_renewed_lease_lasts_on(stage: Stage) -> None:
    stage.train()
    held = claimed(stage)
    stage.now += LEASE - 1
    renew(stage, held)
    stage.now += LEASE - 1
    assert claim(stage, "w2", max_running=2) is None


@pytest.mark.parametrize("write", [complete, retry, fail, renew, release])
def test_a_stale_worker_changes_nothing(stage: Stage, write: object) -> None:
    job, _ = stage.train()
    stale = claimed(stage)
    stage.now += LEASE + 1
    fresh = claimed(stage, "w2")
    assert (fresh.token, fresh.attempt) == (stale.token + 1, 2)
    before, told = stage.job(job.id).model_dump(), stage.events()
    with pytest.raises(LeaseLost, match="another worker has taken it"):
        write(stage, stale)  # type: ignore[operator]
    assert (stage.job(job.id).model_dump(), stage.events()) == (before, told)
    complete(stage, fresh)
    assert stage.job(job.id).state == "done"


def test_two_workers_that_race_never_hold_one_job_together(stage: Stage) -> None:
    for preset in ("default", "careless"):
        stage.train(preset=preset)
    claims: list[Claim | None] = []
    gate = threading.Barrier(6)

    def worker(name: str) -> None:
        gate.wait()
        claims.append(claim(stage, name, max_running=6))

    threads = [threading.Thread(target=worker, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [c.job_id for c in claims if c is not None]
    assert len(held) == len(set(held)) == 2


def test_two_requests_that_race_are_one_job(stage: Stage) -> None:
    gate, seen = threading.Barrier(4), []

    def ask() -> None:
        gate.wait()
        seen.append(stage.train())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job, _ in seen}) == 1
    assert sorted(new for _, new in seen) == [False, False, False, True]


def test_the_device_takes_one_job_at_a_time_and_evaluations_first(stage: Stage) -> None:
    training, _ = stage.train()
    evaluation, _ = stage.evaluate()
    held = claimed(stage)
    assert held.job_id == evaluation.id
    assert claim(stage, "w2") is None
    release(stage, held)
    assert claimed(stage).job_id == evaluation.id
    assert stage.job(training.id).state == "queued"


def test_a_retried_job_waits_for_its_moment(stage: Stage) -> None:
    stage.train()
    retry(stage, claimed(stage), not_before=stage.now + 30)
    assert claim(stage) is None
    stage.now += 31
    assert claimed(stage).attempt == 2


def test_a_released_job_has_lost_no_attempt(stage: Stage) -> None:
    job, _ = stage.train()
    for _ in range(5):
        release(stage, claimed(stage))
    assert stage.job(job.id).attempts == 0
    assert claimed(stage).attempt == 1


def test_a_job_whose_workers_die_three_times_is_reported_once(stage: Stage) -> None:
    job, _ = stage.train()
    for _ in range(3):
        claimed(stage)
        stage.now += LEASE + 1
    assert claim(stage) is None
    assert claim(stage) is None
    assert stage.job(job.id).state == "failed"
    (report,) = stage.events(JobFailed)
    assert isinstance(report, JobFailed)
    assert (report.job_id, report.attempts) == (job.id, 3)
    assert "its worker died in each of 3 attempts" in report.reason


def test_a_failed_training_gives_its_examples_free(stage: Stage) -> None:
    with transaction(stage.engine) as session:
        for number in range(stage.examples):
            repository.add_example(session, f"e{number}", "triage")
    stage.train(BY_COUNT)
    held = claimed(stage)
    with transaction(stage.engine) as session:
        assert repository.new_examples(session, "triage", "default") == 0
        assert repository.new_examples(session, "triage", "careless") == 60
    fail(stage, held)
    with transaction(stage.engine) as session:
        assert repository.new_examples(session, "triage", "default") == 60


class JobTable(RuleBasedStateMachine):
    """Any order of asking, claiming, dying, renewing, ending: one owner, at most three attempts, one ending told."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.stage = Stage(Path(self.folder.name))
        self.held: list[Claim] = []

    def teardown(self) -> None:
        self.stage.engine.dispose()
        self.folder.cleanup()

    @rule(preset=st.sampled_from(["default", "careless"]))
    def ask(self, preset: str) -> None:
        self.stage.train(preset=preset)

    @rule(seconds=st.sampled_from([1.0, LEASE + 1]))
    def time_passes(self, seconds: float) -> None:
        self.stage.now += seconds

    @rule()
    def claim(self) -> None:
        if (held := claim(self.stage)) is not None:
            self.held.append(held)

    @rule(write=st.sampled_from([complete, retry, fail, renew, release]), which=st.integers(0, 20))
    def write(self, write: object, which: int) -> None:
        """By the owner or by a worker that was thought dead."""
        if not self.held:
            return
        held = self.held[which % len(self.held)]
        row = self.stage.job(held.job_id)
        owns = row.state == "running" and row.token == held.token
        try:
            write(self.stage, held)  # type: ignore[operator]
            assert owns
        except LeaseLost:
            assert not owns

    @invariant()
    def each_job_has_at_most_one_end_and_three_attempts(self) -> None:
        ended = [e.job_id for e in self.stage.events() if isinstance(e, CandidateTrained | JobFailed)]
        assert len(ended) == len(set(ended))
        for held in self.held:
            row = self.stage.job(held.job_id)
            assert 0 <= row.attempts <= 4  # a retry by the table's caller does not look at the limit
            assert (row.state in ("done", "failed")) == (row.id in ended)


@pytest.mark.usefixtures("database")
def test_whatever_happens_in_whatever_order_a_job_has_one_owner_and_one_ending() -> None:
    small = settings(max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(JobTable, settings=small)
