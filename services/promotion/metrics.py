"""Metrics of promotion."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from services.promotion.gate import Outcome

VERDICTS = Counter("ratchet_promotion_verdicts_total", "Verdicts of the gate", ["workload", "verdict"])
CHAMPION = Gauge("ratchet_promotion_champion_info", "1 for the version that serves", ["workload", "version"])
DECISIONS_LEFT = Gauge(
    "ratchet_promotion_decisions_left", "Decisions that the holdout's alpha budget still pays for", ["workload"]
)
PLAN_VERSION = Gauge("ratchet_promotion_plan_version", "Number of the serving plan")
WORK = Gauge("ratchet_promotion_candidates_waiting", "Candidates on their way to a verdict", ["state"])
WORK_RETRIES = Counter("ratchet_promotion_work_retries_total", "Steps of a candidate put off, since a part was away")
REPLICAS = Gauge("ratchet_promotion_replicas", "Model servers that should serve a plan")
REPLICAS_REACHABLE = Gauge("ratchet_promotion_replicas_reachable", "Those of them that answered the last time")
ADAPTER_LOADS = Counter("ratchet_promotion_adapter_loads_total", "Adapters loaded on a model server", ["outcome"])
ADAPTER_UNLOADS = Counter("ratchet_promotion_adapter_unloads_total", "Adapters taken off a model server")
RECONCILE_ERRORS = Counter(
    "ratchet_promotion_reconcile_errors_total", "Times a model server could not be brought to what the plan needs"
)


def start_at_zero(workloads: Iterable[str]) -> None:
    """A series that first appears as 1 shows no increase, so these are there from the start."""
    for workload in workloads:
        for outcome in Outcome:
            VERDICTS.labels(workload, outcome)
    for loaded in ("loaded", "failed"):
        ADAPTER_LOADS.labels(loaded)


def show_champions(champions: Iterable[tuple[str, str]]) -> None:
    """(workload, version) of what serves now; the versions before have no series any more."""
    now = set(champions)
    for workload, version in now:
        CHAMPION.labels(workload, version).set(1)
    for metric in CHAMPION.collect():
        for sample in metric.samples:
            shown = (sample.labels["workload"], sample.labels["version"])
            if shown not in now:
                CHAMPION.remove(*shown)
