"""What a job is asked to do: its order, the key that makes two equal orders one job, and the child's command line.

Pure. An order holds everything a worker needs, so a job runs the same after a restart with another ratchet.toml.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shared.artifacts import path_of


class TrainOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    workload: str
    base: str  # the key in [models]
    base_path: str  # a hub name, a folder or builtin:NAME
    preset: str
    preset_sha256: str  # so an edited preset is another training
    snapshot_id: str
    snapshot_uri: str
    snapshot_sha256: str
    replay: str | None = None
    seed: int = 0


class ScoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    run_uri: str | None = None  # None: the bare base


class EvaluateOrder(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="evaluate"):
    workload: str
    base: str
    base_path: str
    versions: tuple[ScoredVersion, ...]
    holdout_id: str
    holdout_uri: str
    scorer: str
    general_suite: str | None = None
    answer_schema: dict[str, Any] | None = None
    scorer_options: dict[str, Any] = {}
    samples: int = 0  # drawn for each held-out item, for consistency
    temperature: float = 0.7  # of drawn answers
    price: dict[str, Any] | None = None


Order = TrainOrder | EvaluateOrder


def to_row(order: Order) -> dict[str, Any]:
    builtins = msgspec.to_builtins(order)
    assert isinstance(builtins, dict)
    return builtins


def from_row(row: Mapping[str, Any]) -> Order:
    order: Order = msgspec.convert(row, Order)
    return order


def kind_of(order: Order) -> str:
    return "train" if isinstance(order, TrainOrder) else "evaluate"


def dedup_key(order: Order) -> str:
    """Equal for orders that would compute the same thing: kind, workload, base, snapshot and configuration.

    A snapshot counts by its content's hash, not by where it lies.
    """
    facts = {name: value for name, value in to_row(order).items() if name not in ("snapshot_uri", "holdout_uri")}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def train_arguments(order: TrainOrder, *, out: Path, metrics: Path) -> list[str]:
    """`--resume` always: without a checkpoint it begins at the beginning."""
    arguments = ["--snapshot", str(path_of(order.snapshot_uri)), "--base", order.base_path, "--preset", order.preset]
    arguments += ["--out", str(out), "--metrics", str(metrics), "--seed", str(order.seed), "--resume"]
    return arguments + (["--replay", order.replay] if order.replay else [])


def evaluate_arguments(
    order: EvaluateOrder, *, out: Path, metrics: Path, schema: Path | None, scorer_options: Path | None = None
) -> list[str]:
    arguments = ["--base", order.base_path]
    for scored in order.versions:
        adapter = "base" if scored.run_uri is None else str(adapter_of(scored.run_uri))
        arguments += ["--version", f"{scored.version}={adapter}"]
    arguments += ["--suite", f"holdout={path_of(order.holdout_uri)}:{order.scorer}"]
    if order.general_suite:
        arguments += ["--suite", f"general={order.general_suite}:exact"]
    if schema is not None:
        arguments += ["--schema", str(schema)]
    if scorer_options is not None:
        arguments += ["--scorer-options", f"holdout={scorer_options}"]
    if order.samples:
        arguments += ["--samples", f"holdout={order.samples}", "--temperature", str(order.temperature)]
    if order.price is not None:
        arguments += ["--price", json.dumps(order.price)]
    return [*arguments, "--out", str(out), "--metrics", str(metrics)]


def adapter_of(run_uri: str) -> Path:
    return path_of(run_uri) / "adapter"


def version_names(order: Order) -> Sequence[str]:
    return [scored.version for scored in order.versions] if isinstance(order, EvaluateOrder) else []
