import shutil

import pytest

from services.scheduler import repository
from services.scheduler.orders import ScoredVersion
from services.scheduler.requests import request_evaluation, request_training
from services.scheduler.tables import JobRow
from shared import artifacts
from shared.artifacts import path_of
from shared.db import transaction
from shared.errors import Unusable
from tests.services.scheduler.stage import BY_COUNT, BY_HAND, Stage, write_snapshot

BASE = ScoredVersion(version="triage@base-00000000")


def ends(stage: Stage, job_id: str, state: str, **values: object) -> None:
    """The job as a worker would leave it."""
    with transaction(stage.engine) as session:
        row = session.get_one(JobRow, job_id)
        row.state = state
        if state == "failed":
            row.live_key = None
        for name, value in values.items():
            setattr(row, name, value)


def new_examples(stage: Stage, preset: str = "default") -> int:
    with transaction(stage.engine) as session:
        return repository.new_examples(session, "triage", preset)


def add_examples(stage: Stage, *numbers: int) -> None:
    with transaction(stage.engine) as session:
        for number in numbers:
            repository.add_example(session, f"e{number}", "triage")


def test_the_same_snapshot_and_preset_are_one_job(stage: Stage) -> None:
    first, new = stage.train()
    again, new_again = stage.train()
    assert (new, new_again, again.id) == (True, False, first.id)


def test_another_preset_trains_the_same_snapshot(stage: Stage) -> None:
    first, _ = stage.train()
    other, new = stage.train(preset="careless")
    assert new
    assert other.id != first.id


def test_a_new_example_makes_a_new_job(stage: Stage) -> None:
    first, _ = stage.train()
    stage.examples += 1
    second, new = stage.train()
    assert new
    assert second.id != first.id


@pytest.mark.parametrize(("examples", "enough"), [(3, False), (9, False), (10, True)])
def test_fewer_than_ten_examples_are_refused_with_a_sentence(stage: Stage, examples: int, enough: bool) -> None:
    stage.examples = examples
    if enough:
        assert stage.train()[1]
        return
    with pytest.raises(Unusable, match=rf"triage has {examples} training examples; a training needs at least 10"):
        stage.train()


def test_an_unknown_workload_or_preset_is_refused_with_those_that_exist(stage: Stage) -> None:
    with pytest.raises(Unusable, match=r"'billing' is no workload of this deployment; known: triage"):
        request_training(stage.intake, "billing", None, BY_HAND)
    with pytest.raises(Unusable, match=r"'best' is no training preset; known: careless, default"):
        stage.train(preset="best")
    assert stage.snapshots_taken == 0


def test_a_failed_training_is_made_again_by_hand_and_never_by_a_trigger(stage: Stage) -> None:
    first, _ = stage.train(BY_COUNT)
    ends(stage, first.id, "failed", error="the disk is full")
    with pytest.raises(Unusable, match=rf"job {first.id} trained this very snapshot and failed: the disk is full"):
        stage.train(BY_COUNT)
    again, new = stage.train(BY_HAND)
    assert new
    assert again.id != first.id
    assert stage.train(BY_COUNT)[0].id == again.id


def test_a_done_job_whose_artifact_is_gone_is_made_again(stage: Stage) -> None:
    first, _ = stage.train()
    run = stage.folder / "artifacts" / "runs" / first.id
    with artifacts.writing(run, "run", {}):
        pass
    ends(stage, first.id, "done", result={"run_uri": artifacts.uri_of(run)})
    assert not stage.train()[1]
    shutil.rmtree(run)
    again, new = stage.train()
    assert new
    assert again.id != first.id


def test_examples_of_a_training_are_no_longer_new_to_its_preset(stage: Stage) -> None:
    add_examples(stage, *range(60))
    assert new_examples(stage) == 60
    stage.train(preset="careless")
    assert (new_examples(stage, "careless"), new_examples(stage)) == (0, 60)
    stage.train()
    assert new_examples(stage) == 0


def test_an_example_heard_of_after_its_training_is_not_new(stage: Stage) -> None:
    add_examples(stage, *range(20))
    stage.train()
    add_examples(stage, *range(20, 60))
    assert new_examples(stage) == 0
    add_examples(stage, 60)
    assert new_examples(stage) == 1


def test_an_example_that_annotation_left_out_of_the_snapshot_is_not_waited_for(stage: Stage) -> None:
    add_examples(stage, *range(60), 900)
    stage.train()
    assert new_examples(stage) == 0


def test_an_evaluation_is_one_job_per_versions_and_holdout(stage: Stage) -> None:
    first, _ = stage.evaluate(BASE)
    assert stage.evaluate(BASE)[0].id == first.id
    run = stage.folder / "run"
    with artifacts.writing(run, "run", {}):
        pass
    candidate = ScoredVersion(version="triage@0123456789abcdef", run_uri=artifacts.uri_of(run))
    assert stage.evaluate(BASE, candidate)[0].id != first.id


@pytest.mark.parametrize(
    ("versions", "why"),
    [
        ([], "versions is empty"),
        ([BASE, BASE], "names one version twice"),
        ([ScoredVersion(version="latest")], "'latest' is not a version"),
        ([ScoredVersion(version="other@base-00000000")], "belongs to other, not to triage"),
        ([ScoredVersion(version="triage@0123456789abcdef", run_uri="file:///no/run")], "has no manifest.json"),
        ([ScoredVersion(version="triage@0123456789abcdef", run_uri="s3://b/run")], "only file: URIs"),
    ],
)
def test_versions_that_cannot_be_evaluated_are_refused(stage: Stage, versions: list[ScoredVersion], why: str) -> None:
    holdout = write_snapshot(stage.folder / "snapshots", 30, "holdout")
    with pytest.raises(Unusable, match=why):
        request_evaluation(stage.intake, "triage", versions, holdout.uri, BY_HAND)


def test_a_training_snapshot_is_no_exam(stage: Stage) -> None:
    train = write_snapshot(stage.folder / "snapshots", 30, "train")
    with pytest.raises(Unusable, match="it should be a holdout snapshot of triage"):
        request_evaluation(stage.intake, "triage", [BASE], train.uri, BY_HAND)
    other = write_snapshot(stage.folder / "other", 30, "holdout", workload="other")
    with pytest.raises(Unusable, match="it should be a holdout snapshot of triage"):
        request_evaluation(stage.intake, "triage", [BASE], other.uri, BY_HAND)
    holdout = write_snapshot(stage.folder / "snapshots", 30, "holdout")
    asked = ScoredVersion(version="triage@0123456789abcdef", run_uri=holdout.uri)
    with pytest.raises(Unusable, match="holds a snapshot; it should be a run"):
        request_evaluation(stage.intake, "triage", [asked], holdout.uri, BY_HAND)
    assert path_of(holdout.uri).is_dir()
