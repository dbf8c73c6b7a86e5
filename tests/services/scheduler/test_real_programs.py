"""The real training and evaluation programs behind the scheduler: their command lines, exit statuses and artifacts."""

import json
from pathlib import Path

import pytest

from services.scheduler.orders import ScoredVersion
from services.scheduler.presets import known_presets
from services.scheduler.requests import Intake, request_evaluation, request_training
from services.scheduler.snapshots import Snapshot
from shared import artifacts
from shared.artifacts import path_of
from shared.events import CandidateTrained, JobFailed, VersionsEvaluated
from shared.workloads import Deployment
from tests.services.scheduler.stage import BY_HAND, Stage
from training.tiny.house import ANSWER_SCHEMA, SYSTEM_PROMPT, ticket

pytestmark = pytest.mark.slow

TRIAGE = Deployment.model_validate(
    {
        "models": {"tiny": {"path": "builtin:tiny"}},
        "workloads": {"triage": {"base": "tiny", "scorer": "json_fields", "answer_schema": ANSWER_SCHEMA}},
    }
)
REAL = {"train_command": "", "evaluate_command": "", "lease_seconds": 30.0, "heartbeat_seconds": 1.0}


def example(seed: int) -> dict[str, object]:
    made = ticket(seed)
    messages = [("system", SYSTEM_PROMPT), ("user", made.text), ("assistant", made.answer)]
    turns = [{"role": role, "content": content} for role, content in messages]
    return {"id": f"e{seed}", "group": f"g{seed}", "kind": "fix", "messages": turns}


def snapshot(folder: Path, split: str, seeds: range) -> Snapshot:
    name, ids = f"{split}-snapshot", [f"e{seed}" for seed in seeds]
    facts = {"snapshot_id": name, "workload": "triage", "split": split, "examples": len(ids), "example_ids": ids}
    with artifacts.writing(folder / name, "snapshot", facts) as draft:
        (draft / "examples.jsonl").write_text("".join(json.dumps(example(seed)) + "\n" for seed in seeds))
    sha256 = artifacts.sha256_of(folder / name / "examples.jsonl")
    return Snapshot(name, artifacts.uri_of(folder / name), sha256, len(ids), tuple(ids))


@pytest.fixture
def intake(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Intake:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    train = snapshot(stage.folder, "train", range(12))
    return Intake(stage.engine, TRIAGE, known_presets(), lambda _workload: train)


def test_a_snapshot_becomes_a_candidate_and_the_candidate_is_measured_against_the_base(
    stage: Stage, intake: Intake
) -> None:
    training, _ = request_training(intake, "triage", "careless", BY_HAND)
    holdout = snapshot(stage.folder, "holdout", range(100, 106))
    with stage.running(**REAL):
        trained = stage.ends(training.id, seconds=200)
        assert trained.error is None
        candidate = ScoredVersion(version=(trained.result or {})["version"], run_uri=(trained.result or {})["run_uri"])
        versions = [ScoredVersion(version="triage@base-00000000"), candidate]
        evaluation, _ = request_evaluation(intake, "triage", versions, holdout.uri, BY_HAND)
        evaluated = stage.ends(evaluation.id, seconds=200)
    assert evaluated.error is None
    (event,) = stage.events(CandidateTrained)
    assert isinstance(event, CandidateTrained)
    run = artifacts.verify(path_of(event.run_uri), "run")
    assert (run["adapter_sha256"], run["snapshot_id"]) == (event.adapter_sha256, "train-snapshot")
    assert trained.progress is not None
    assert trained.progress["step"] == run["steps"]
    (told,) = stage.events(VersionsEvaluated)
    assert isinstance(told, VersionsEvaluated)
    summary = artifacts.verify(path_of(told.evaluation_uri), "evaluation")["summary"]
    assert [summary[version]["holdout"]["n"] for version in told.versions] == [6, 6]


def test_what_the_program_cannot_use_fails_at_once_with_its_sentence(stage: Stage, intake: Intake) -> None:
    job, _ = request_training(intake, "triage", "careless", BY_HAND)
    folder = stage.folder / "train-snapshot"
    (folder / "manifest.json").unlink()
    with artifacts.writing(folder, "snapshot", {"snapshot_id": "train-snapshot"}) as draft:
        (draft / "examples.jsonl").write_text('{"id": "e0"\n' * 12)
    with stage.running(**REAL):
        failed = stage.ends(job.id, seconds=100)
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert "examples.jsonl" in (failed.error or "")
    assert len(stage.events(JobFailed)) == 1
