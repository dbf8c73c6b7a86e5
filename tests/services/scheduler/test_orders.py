from pathlib import Path

import msgspec
import pytest

from services.scheduler.orders import (
    EvaluateOrder,
    Order,
    ScoredVersion,
    TrainOrder,
    dedup_key,
    evaluate_arguments,
    from_row,
    to_row,
    train_arguments,
)

TRAIN = TrainOrder(
    workload="triage",
    base="tiny",
    base_path="builtin:tiny",
    preset="default",
    preset_sha256="d" * 64,
    snapshot_id="s1",
    snapshot_uri="file:///data/snapshots/s1",
    snapshot_sha256="a" * 64,
    replay="/data/replay.jsonl",
)
EVALUATE = EvaluateOrder(
    workload="triage",
    base="tiny",
    base_path="builtin:tiny",
    versions=(
        ScoredVersion(version="triage@base-00000000"),
        ScoredVersion(version="triage@0123456789abcdef", run_uri="file:///data/runs/j%201"),
    ),
    holdout_id="h1",
    holdout_uri="file:///data/snapshots/h1",
    scorer="json_fields",
    general_suite="/data/general.jsonl",
    answer_schema={"type": "object"},
)


@pytest.mark.parametrize("order", [TRAIN, EVALUATE])
def test_an_order_comes_back_from_its_row_as_it_was(order: Order) -> None:
    assert from_row(to_row(order)) == order


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "other"},
        {"base_path": "hub/other"},
        {"preset": "careless"},
        {"preset_sha256": "e" * 64},
        {"snapshot_id": "s2"},
        {"snapshot_sha256": "b" * 64},
        {"replay": None},
        {"seed": 1},
    ],
)
def test_every_difference_that_matters_makes_another_training(change: dict[str, object]) -> None:
    assert dedup_key(msgspec.structs.replace(TRAIN, **change)) != dedup_key(TRAIN)


def test_the_same_snapshot_in_another_place_is_the_same_training() -> None:
    moved = msgspec.structs.replace(TRAIN, snapshot_uri="file:///elsewhere/s1")
    assert dedup_key(moved) == dedup_key(TRAIN)


def test_a_training_and_an_evaluation_never_share_a_key() -> None:
    assert dedup_key(TRAIN) != dedup_key(EVALUATE)


def test_the_command_line_of_a_training() -> None:
    arguments = train_arguments(TRAIN, out=Path("/runs/j1"), metrics=Path("/jobs/j1/metrics.jsonl"))
    assert " ".join(arguments) == (
        "--snapshot /data/snapshots/s1 --base builtin:tiny --preset default --out /runs/j1 "
        "--metrics /jobs/j1/metrics.jsonl --seed 0 --resume --replay /data/replay.jsonl"
    )


def test_the_command_line_of_an_evaluation() -> None:
    out, metrics, schema = Path("/evaluations/j1"), Path("/jobs/j1/metrics.jsonl"), Path("/jobs/j1/schema.json")
    assert evaluate_arguments(EVALUATE, out=out, metrics=metrics, schema=schema) == [
        *("--base", "builtin:tiny"),
        *("--version", "triage@base-00000000=base"),
        *("--version", "triage@0123456789abcdef=/data/runs/j 1/adapter"),
        *("--suite", "holdout=/data/snapshots/h1:json_fields"),
        *("--suite", "general=/data/general.jsonl:exact"),
        *("--schema", "/jobs/j1/schema.json"),
        *("--out", "/evaluations/j1"),
        *("--metrics", "/jobs/j1/metrics.jsonl"),
    ]


def test_options_samples_and_prices_of_a_workload_reach_the_command_line() -> None:
    order = msgspec.structs.replace(EVALUATE, samples=5, temperature=0.3, price={"currency": "EUR"})
    options = Path("/jobs/j1/scorer_options.json")
    arguments = evaluate_arguments(order, out=Path("/e"), metrics=Path("/m"), schema=None, scorer_options=options)
    said = " ".join(arguments)
    assert "--scorer-options holdout=/jobs/j1/scorer_options.json" in said
    assert "--samples holdout=5 --temperature 0.3" in said
    assert '--price {"currency": "EUR"}' in said


@pytest.mark.parametrize(
    "change", [{"scorer_options": {"tolerance": {}}}, {"samples": 5}, {"temperature": 0.1}, {"price": {}}]
)
def test_every_difference_that_matters_makes_another_evaluation(change: dict[str, object]) -> None:
    assert dedup_key(msgspec.structs.replace(EVALUATE, **change)) != dedup_key(EVALUATE)
