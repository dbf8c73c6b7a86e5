"""Jobs made by real child processes."""

import signal
from pathlib import Path
from typing import Any

import pytest

from services.scheduler import jobs
from services.scheduler.launcher import LocalLauncher
from services.scheduler.orders import ScoredVersion
from services.scheduler.reading import last_line_of_json, last_sentence
from shared import artifacts
from shared.artifacts import path_of, read_manifest
from shared.db import transaction
from shared.errors import Unavailable
from shared.events import CandidateTrained, JobFailed, JobStarted, VersionsEvaluated
from tests.services.scheduler.stage import Stage, is_alive, until


def test_a_training_leaves_a_candidate(stage: Stage) -> None:
    stage.acts("work")
    job, _ = stage.train()
    with stage.running():
        done = stage.ends(job.id)
    assert (done.state, done.attempts, done.error) == ("done", 1, None)
    assert done.progress == {"step": 4, "steps": 4, "loss": 0.5, "eta_seconds": 0}
    started, trained = stage.events()
    assert started == JobStarted(job_id=job.id, kind="train", workload="triage", attempt=1)
    assert isinstance(trained, CandidateTrained)
    assert trained.version == f"triage@{trained.adapter_sha256[:16]}"
    assert (trained.base, trained.preset, trained.snapshot_id) == ("tiny", "default", "train-60")
    manifest = artifacts.verify(path_of(trained.run_uri), "run")
    assert "--resume" in manifest["arguments"]
    assert manifest["nice"] >= 1
    assert done.result == {
        "version": trained.version,
        "run_uri": trained.run_uri,
        "adapter_sha256": trained.adapter_sha256,
    }


def test_an_evaluation_names_its_versions_in_order(stage: Stage) -> None:
    stage.acts("work")
    training, _ = stage.train()
    with stage.running():
        run = (stage.ends(training.id).result or {})["run_uri"]
        candidate = ScoredVersion(version="triage@0123456789abcdef", run_uri=run)
        job, _ = stage.evaluate(ScoredVersion(version="triage@base-00000000"), candidate)
        done = stage.ends(job.id)
    (evaluated,) = stage.events(VersionsEvaluated)
    assert isinstance(evaluated, VersionsEvaluated)
    assert evaluated.versions == ["triage@base-00000000", "triage@0123456789abcdef"]
    assert done.result == {"evaluation_uri": evaluated.evaluation_uri, "versions": evaluated.versions}
    assert artifacts.is_valid(path_of(evaluated.evaluation_uri), "evaluation")


def test_a_child_that_was_killed_is_tried_again_from_its_checkpoint(stage: Stage) -> None:
    stage.acts("checkpoint and die", "work")
    job, _ = stage.train()
    with stage.running():
        done = stage.ends(job.id)
    assert (done.state, done.attempts) == ("done", 2)
    assert read_manifest(path_of((done.result or {})["run_uri"]))["resumed_from"] == 2
    assert [e.attempt for e in stage.events(JobStarted) if isinstance(e, JobStarted)] == [1, 2]
    assert len(stage.events(CandidateTrained)) == 1


def test_three_bad_ends_are_reported_once_with_the_childs_last_sentence(stage: Stage) -> None:
    stage.acts("exit 1")
    job, _ = stage.train()
    with stage.running():
        failed = stage.ends(job.id)
    assert (failed.state, failed.attempts) == ("failed", 3)
    (report,) = stage.events(JobFailed)
    assert isinstance(report, JobFailed)
    assert report.reason == failed.error == "the child ended with status 1: the last sentence of the child"
    assert (report.kind, report.attempts) == ("train", 3)
    assert len(stage.pids()) == 3


def test_bad_input_is_not_tried_again(stage: Stage) -> None:
    stage.acts("exit 2", "work")
    job, _ = stage.train()
    with stage.running():
        failed = stage.ends(job.id)
    assert (failed.state, failed.attempts, len(stage.pids())) == ("failed", 1, 1)
    assert len(stage.events(JobFailed)) == 1


def test_out_of_resources_is_tried_again_later(stage: Stage) -> None:
    stage.acts("exit 3", "work")
    job, _ = stage.train()
    with stage.running(resources_retry_seconds=0.5) as runner:
        waiting = until(lambda: (row := stage.job(job.id)).state == "queued" and row.attempts == 1 and row, "a retry")
        assert waiting.not_before >= (waiting.started_at or 0) + 0.5
        done = stage.ends(job.id)
        assert runner.is_alive()
    assert (done.state, done.attempts) == ("done", 2)


def test_a_child_that_ends_well_and_leaves_nothing_has_failed(stage: Stage) -> None:
    stage.acts("leave nothing")
    job, _ = stage.train()
    with stage.running():
        failed = stage.ends(job.id)
    assert failed.error == "the child ended well but left no valid output"


def test_a_program_that_cannot_be_started_is_reported(stage: Stage) -> None:
    job, _ = stage.train()
    with stage.running(train_command="/no/such/program"):
        failed = stage.ends(job.id)
    assert "/no/such/program cannot be started" in (failed.error or "")


def test_a_corrupted_snapshot_fails_the_job_before_a_child_starts(stage: Stage) -> None:
    stage.acts("work")
    job, _ = stage.train()
    (stage.folder / "snapshots" / "train-60" / "examples.jsonl").write_text("other")
    with stage.running():
        failed = stage.ends(job.id)
    assert (failed.state, stage.pids()) == ("failed", [])
    assert "is not the file the manifest describes" in (failed.error or "")


def test_a_corrupted_adapter_is_not_evaluated(stage: Stage) -> None:
    stage.acts("work")
    training, _ = stage.train()
    with stage.running():
        run = (stage.ends(training.id).result or {})["run_uri"]
        (path_of(run) / "adapter" / "adapter_model.safetensors").write_text("other")
        job, _ = stage.evaluate(ScoredVersion(version="triage@0123456789abcdef", run_uri=run))
        failed = stage.ends(job.id)
    assert "is not the file the manifest describes" in (failed.error or "")
    (report,) = stage.events(JobFailed)
    assert isinstance(report, JobFailed)
    assert report.versions == ["triage@0123456789abcdef"]


def test_an_output_that_is_already_sealed_is_taken_without_another_child(stage: Stage) -> None:
    stage.acts("work")
    job, _ = stage.train()
    with artifacts.writing(stage.folder / "artifacts" / "runs" / job.id, "run", {"adapter_sha256": "a" * 64}) as draft:
        (draft / "metrics.jsonl").write_text("{}\n")
    with stage.running():
        done = stage.ends(job.id)
    assert (done.state, stage.pids()) == ("done", [])
    assert (done.result or {})["version"] == "triage@" + "a" * 16


def test_stopping_ends_the_child_and_gives_the_job_back(stage: Stage) -> None:
    stage.acts("hang", "work")
    job, _ = stage.train()
    with stage.running():
        (pid,) = until(stage.pids, "the child")
    assert not is_alive(pid)
    queued = stage.job(job.id)
    assert (queued.state, queued.attempts, queued.error) == ("queued", 0, None)
    with stage.running():
        done = stage.ends(job.id)
    assert (done.state, done.attempts) == ("done", 1)
    assert read_manifest(path_of((done.result or {})["run_uri"]))["resumed_from"] == 1


def test_a_child_that_does_not_hear_is_killed_when_stopping(stage: Stage) -> None:
    stage.acts("hang deaf")
    job, _ = stage.train()
    with stage.running(stop_grace_seconds=0.2):
        (pid,) = until(stage.pids, "the child")
    assert not is_alive(pid)
    assert stage.job(job.id).state == "queued"


def test_progress_is_followed_while_the_child_runs(stage: Stage) -> None:
    stage.acts("hang")
    job, _ = stage.train()
    with stage.running():
        seen = until(lambda: stage.job(job.id).progress, "progress")
    assert seen == {"step": 1, "steps": 4, "loss": 2.5, "eta_seconds": 3}


def test_a_worker_that_lost_its_job_ends_its_child_and_writes_nothing(stage: Stage) -> None:
    stage.acts("hang")
    job, _ = stage.train()
    with stage.running():
        (pid,) = until(stage.pids, "the child")
        with transaction(stage.engine) as session:  # as another worker's claim would
            row = stage.job(job.id)
            row.token, row.lease_until, row.worker = row.token + 1, row.lease_until + 60, "another"
            session.merge(row)
        until(lambda: not is_alive(pid), "the end of the stale child")
    after = stage.job(job.id)
    assert (after.state, after.worker, after.attempts) == ("running", "another", 1)


def test_the_next_worker_ends_a_child_that_was_left_behind(stage: Stage, tmp_path: Path) -> None:
    stage.acts("work")
    job, _ = stage.train()
    orphan = LocalLauncher(nice=0).start(["sleep", "60"], tmp_path / "log.txt")
    with transaction(stage.engine) as session:  # as a worker that was stopped in the middle leaves it
        row = stage.job(job.id)
        row.state, row.attempts, row.token, row.lease_until, row.child = "running", 1, 1, 1.0, orphan.ref
        session.merge(row)
    with stage.running():
        assert stage.ends(job.id).attempts == 2
    assert orphan.wait(5.0) == -signal.SIGKILL


def test_two_jobs_run_together_where_there_is_room(stage: Stage) -> None:
    stage.acts("hang")
    stage.train()
    stage.train(preset="careless")
    with stage.running(max_running=2):
        pids = until(lambda: len(stage.pids()) == 2 and stage.pids(), "two children")
        assert all(is_alive(pid) for pid in pids)
    assert not any(is_alive(pid) for pid in pids)


def test_a_child_without_progress_is_ended_and_tried_again(stage: Stage) -> None:
    stage.acts("hang", "work")
    job, _ = stage.train()
    with stage.running(silence_seconds=1.0, max_attempts=50):  # a busy machine may be too slow for one second
        done = stage.ends(job.id)
    assert (done.state, done.attempts > 1) == ("done", True)
    assert not is_alive(stage.pids()[0])


def test_a_worker_that_cannot_renew_its_lease_ends_its_child(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.acts("hang", "work")
    job, _ = stage.train()
    renewing = jobs.renew

    def away(*_arguments: object, **_facts: object) -> None:
        raise Unavailable("the database is away")

    with stage.running():
        (pid,) = until(stage.pids, "the child")
        monkeypatch.setattr(jobs, "renew", away)
        until(lambda: not is_alive(pid), "the end of the child")
        monkeypatch.setattr(jobs, "renew", renewing)
        done = stage.ends(job.id)  # taken up again when the lease has run out
    assert (done.state, done.attempts) == ("done", 2)


def test_a_result_is_written_when_the_database_comes_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.acts("work")
    job, _ = stage.train()
    completing, refusals = jobs.complete, iter([Unavailable("the database is away")])

    def complete(*arguments: Any, **facts: Any) -> None:
        for refusal in refusals:
            raise refusal
        completing(*arguments, **facts)

    monkeypatch.setattr(jobs, "complete", complete)
    with stage.running():
        done = stage.ends(job.id)
    assert (done.state, done.attempts, len(stage.pids())) == ("done", 1, 1)


def test_a_job_folder_that_cannot_be_made_is_tried_again_and_reported(stage: Stage) -> None:
    stage.acts("work")
    job, _ = stage.train()
    (stage.folder / "jobs").write_text("a file where a folder should be, as a full disk would refuse one")
    with stage.running():
        failed = stage.ends(job.id)
    assert (failed.state, failed.attempts, stage.pids()) == ("failed", 3, [])
    assert (failed.error or "").startswith("the attempt cannot be made: ")


@pytest.mark.parametrize("last_act", ["work", "exit 2"])
def test_nothing_half_made_is_left_when_a_job_has_ended(stage: Stage, last_act: str) -> None:
    stage.acts("checkpoint and die", last_act)
    job, _ = stage.train()
    runs = stage.folder / "artifacts" / "runs"
    with stage.running():
        until(lambda: (runs / f"{job.id}.work").exists() or stage.job(job.id).attempts > 1, "the first attempt")
        stage.ends(job.id)
        until(lambda: not (runs / f"{job.id}.work").exists(), "the clearing")
    assert list(runs.glob(f".{job.id}*")) == []
    assert (stage.folder / "jobs" / job.id / "log.txt").exists()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ('{"step": 1}\n{"step": 2}\n', {"step": 2}),
        ('{"step": 1}\n{"step": 2, "lo', {"step": 1}),
        ('{"loss": NaN}\n', {"loss": None}),
        ('{"step": 1}\n[]\nnot json\n', {"step": 1}),
        ("", None),
    ],
)
def test_progress_is_the_last_whole_line(tmp_path: Path, written: str, seen: object) -> None:
    (tmp_path / "metrics.jsonl").write_text(written)
    assert last_line_of_json(tmp_path / "metrics.jsonl") == seen
    assert last_line_of_json(tmp_path / "missing.jsonl") is None


def test_the_last_sentence_is_short_and_never_our_own_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xff broken bytes\nOut of memory.\n\n--- attempt 2: python\n" + b"")
    assert last_sentence(log) == "Out of memory."
    log.write_text("x" * 100_000)
    assert len(last_sentence(log)) == 500
    log.write_bytes(b"out of\x00memory\n")
    assert last_sentence(log) == "out of\ufffdmemory"  # a database need not hold a NUL
