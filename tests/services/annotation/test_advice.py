from dataclasses import replace
from typing import Any

from services.annotation.advice import Figures, advice
from shared.workloads import Workload

CALM = Figures(
    samples=1000,
    nominated=0,
    waiting=5,
    corrected=600,
    corrected_today=10,
    shown_today=10,
    train=400,
    holdout=200,
    train_groups=400,
    holdout_groups=200,
    rejected={},
    knowledge=0,
    groups=900,
    largest_group=20,
    without_key=1000,
    prompts=900,
    crowded_prompts=0,
)


def said(change: dict[str, Any], **workload: Any) -> str:
    return " ".join(advice("triage", Workload.model_validate({"base": "tiny", **workload}), replace(CALM, **change)))


def test_a_healthy_workload_hears_nothing() -> None:
    assert said({}) == ""


def test_one_giant_group_is_said_aloud_with_the_setting_to_change() -> None:
    sentence = said({"largest_group": 400})
    assert "40% of 1000 samples" in sentence
    assert "ignore_digits = false" in sentence
    assert 'key = "metadata.group" in [workloads.triage.grouping]' in sentence


def test_a_giant_group_of_the_application_asks_for_a_finer_key() -> None:
    assert "finer metadata.group" in said({"largest_group": 400, "without_key": 0}, grouping={"key": "metadata.group"})


def test_too_few_groups_are_said_aloud() -> None:
    few = {"samples": 5000, "groups": 90, "holdout_groups": 18, "largest_group": 100}
    assert "5000 samples fell into only 90 groups, too few for min_groups = 200" in said(few)


def test_a_young_holdout_is_told_how_far_it_is() -> None:
    sentence = said({"holdout_groups": 12})
    assert "12 of the 200 groups" in sentence
    assert "too few for min_groups" not in sentence


def test_missing_group_keys_are_said_aloud() -> None:
    assert "40 of 1000 samples came without metadata.group" in said(
        {"without_key": 40}, grouping={"key": "metadata.group"}
    )


def test_a_spent_budget_names_what_waits() -> None:
    told = said({"shown_today": 100, "nominated": 37})
    assert "100 items is spent; of 37 held back those that repeat nothing" in told


def test_prompts_that_all_look_alike_are_said_aloud() -> None:
    assert "near-duplicates may be missed" in said({"crowded_prompts": 200})


def test_a_workload_without_traffic_is_told_how_to_get_some() -> None:
    assert "send requests with model 'triage'" in said({"samples": 0, "holdout_groups": 0})


def test_samples_that_nobody_is_shown_are_said_aloud() -> None:
    by_key = {"grouping": {"key": "metadata.group"}}
    sentence = said({"straddling": 300, "without_key": 0}, **by_key)
    assert "300 of 1000 samples resemble prompts on both sides of the holdout border and are never shown" in sentence
    assert "set a higher similarity than 0.8 or ignore_digits = false in [workloads.triage.grouping]" in sentence
    assert said({"straddling": 50, "without_key": 0}, **by_key) == ""
    exact = {"grouping": {"key": "metadata.group", "similarity": 1.0}}
    assert "set ignore_digits = false in" in said({"straddling": 300, "without_key": 0}, **exact)


def test_crowded_prompts_of_an_application_ask_for_a_higher_similarity() -> None:
    sentence = said({"crowded_prompts": 500, "without_key": 0}, grouping={"key": "metadata.group"})
    assert "near-duplicates may be missed; set a higher similarity than 0.8" in sentence
