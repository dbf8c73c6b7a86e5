"""The ledger's rows: what a decision finds, and what it leaves. The rule is in ledger.py.

Read and written in the caller's transaction, so a verdict and its spending stand or fall together.
Twice: the same candidate against the same champion on the same snapshot is one decision, however often it is judged.
"""

from collections.abc import Mapping
from typing import Any

from services.promotion import metrics
from services.promotion.evaluation_reading import HOLDOUT
from services.promotion.gate import Verdict
from services.promotion.ledger import Account, decisions_left, holdout_version, marks, needed
from services.promotion.reporting import Case
from services.promotion.repository import Registry
from services.promotion.tables import DecisionRow
from shared.events import utc_now
from shared.gate_policy import Gate
from shared.workloads import Workload


def open_account(registry: Registry, case: Case) -> Account | None:
    """What this decision may spend; None where there is no evaluation. One that was made before finds what it found."""
    if case.evaluation is None or case.holdout_snapshot_id is None:
        return None
    gate, workload = case.gate, case.row.workload
    made = registry.decision(case.row.version, case.champion, case.holdout_snapshot_id)
    if made is not None:
        of_then = registry.holdout_version(workload, made.holdout)
        due = needed(of_then.size, gate.holdout_growth)
        return Account(of_then, gate.budget, made.spent_before, made.decisions_before, due, due, made=True)
    last = registry.last_holdout_version(workload)
    now = marks(line.group for line in case.evaluation.of(case.row.version, HOLDOUT))
    version, missing = holdout_version(last, now, gate.holdout_growth)
    spent, decisions = registry.spent(workload, version.number)
    return Account(version, gate.budget, spent, decisions, missing, needed(version.size, gate.holdout_growth))


def spend(registry: Registry, case: Case, verdict: Verdict) -> None:
    """Writes the decision down, where luck had a chance."""
    account = case.account
    if account is None or account.made or not verdict.looked:
        return
    assert case.holdout_snapshot_id is not None
    registry.put_holdout_version(case.row.workload, account.holdout)
    registry.add_decision(
        DecisionRow(
            version=case.row.version,
            champion=case.champion,
            holdout_snapshot_id=case.holdout_snapshot_id,
            workload=case.row.workload,
            holdout=account.holdout.number,
            alpha=case.gate.alpha,
            spent_before=account.spent,
            decisions_before=account.decisions,
            verdict=verdict.outcome,
            at=utc_now(),
        )
    )


def standing(registry: Registry, workload: str, gate: Gate) -> dict[str, Any]:
    """Where a workload's ledger stands, for the status."""
    number = registry.last_holdout_number(workload)
    spent, decisions = (0.0, 0) if number is None else registry.spent(workload, number)
    return {
        "holdout_version": number,
        "decisions": decisions,
        "decisions_left": decisions_left(gate.budget, spent, gate.alpha),
        "alpha": gate.alpha,
        "spent": spent,
        "budget": gate.budget,
    }


def show_decisions_left(registry: Registry, workloads: Mapping[str, Workload]) -> None:
    for name, workload in workloads.items():
        metrics.DECISIONS_LEFT.labels(name).set(standing(registry, name, workload.gate)["decisions_left"])
