"""The rules and their cases, as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics as shared_metrics
from tests.readme_tables import modules

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "infra" / "prometheus" / "rules").glob("*.yml"))
CASES = sorted((Path(__file__).parent / "cases").glob("*.test.yml"))
PROMETHEUS_OWN = {"up", "ALERTS", "ALERTS_FOR_STATE"}


def rules() -> Iterator[dict[str, Any]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def cases() -> Iterator[dict[str, Any]]:
    for file in CASES:
        yield from yaml.safe_load(file.read_text("utf-8"))["tests"]


def metrics_in(expression: str) -> set[str]:
    """Every metric a query names; ValueError when it is no PromQL."""
    return set(_names(promql_parser.parse(expression)))


def registered() -> set[str]:
    """Every series name that our services' metrics can have."""
    names: set[str] = set()
    for module in modules("metrics", shared_metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                family = metric.describe()[0]
                ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
                names |= {family.name + end for end in ends}
    return names


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name
        return
    if isinstance(node, promql_parser.MatrixSelector):
        yield from _names(node.vector_selector)
        return
    for field in ("expr", "lhs", "rhs", "args", "param"):
        for child in _listed(getattr(node, field, None)):
            yield from _names(child)


def _listed(found: Any) -> list[Any]:
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]
