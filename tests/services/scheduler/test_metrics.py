"""The figures that alerts rest on."""

from services.scheduler.metrics import CHILD_SILENCE, JOBS, QUEUED_JOBS, RUNNING_JOBS
from tests.services.scheduler.stage import Stage, until


def test_a_job_that_waits_behind_another_is_counted_while_that_one_runs(stage: Stage) -> None:
    stage.acts("hang")
    stage.train()
    with stage.running():
        until(lambda: RUNNING_JOBS._value.get() == 1, "the training runs")
        until(lambda: QUEUED_JOBS._value.get() == 0, "nothing waits")
        stage.evaluate()
        until(lambda: QUEUED_JOBS._value.get() == 1, "the evaluation waits")


def test_silence_grows_while_a_child_says_nothing_and_ends_with_it(stage: Stage) -> None:
    stage.acts("hang")
    stage.train()
    silence = CHILD_SILENCE.labels("train")._value
    with stage.running():
        until(lambda: silence.get() > 0.3, "it is silent")
    assert silence.get() == 0


def test_every_end_of_a_job_has_a_series_before_the_first_job() -> None:
    there = {
        (s.labels["kind"], s.labels["state"]) for m in JOBS.collect() for s in m.samples if s.name.endswith("_total")
    }
    assert {("train", "done"), ("train", "failed"), ("evaluate", "done"), ("evaluate", "failed")} <= there
