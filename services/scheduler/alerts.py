"""Alertmanager's webhook: its body, and what becomes of each alert in it.

Only firing alerts with the labels `workload` and `action="retrain"` ask for anything. An accepted alert waits in the
table until the next tick trains.
Twice: the same fingerprint and start is accepted once; one that was ignored may be accepted when it comes again.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlmodel import Session

from services.scheduler import repository
from services.scheduler.metrics import ALERTS
from services.scheduler.tables import AlertRow
from services.scheduler.triggers import Start, accept_alert, moment
from shared.text import Text, storable
from shared.workloads import Deployment


def _storable(labels: dict[str, str]) -> dict[str, str]:
    for text in (*labels, *labels.values()):
        storable(text)
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_storable)]


class Alert(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = Field(default_factory=dict)
    starts_at: Annotated[Text, Field(max_length=64)] = Field("", alias="startsAt")
    fingerprint: Annotated[Text, Field(max_length=128)] = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "without a name")[:200]

    @property
    def identity(self) -> str:
        """Alertmanager's own, else a hash of the labels, which is what its fingerprint is."""
        return self.fingerprint or hashlib.sha256(json.dumps(self.labels, sort_keys=True).encode()).hexdigest()[:16]


class Webhook(BaseModel):
    """Version 4; fields this service has no use for are let through."""

    version: Literal["4"] = "4"
    alerts: list[Alert] = Field(max_length=1000)


def receive(session: Session, webhook: Webhook, deployment: Deployment, now: float) -> dict[str, list[dict[str, Any]]]:
    """{"accepted": [..], "ignored": [{"why"}]}, each with the alert's name and workload."""
    answer: dict[str, list[dict[str, Any]]] = {"accepted": [], "ignored": []}
    for alert in webhook.alerts:
        accepted, why = _judge(session, alert, deployment, now)
        outcome = "accepted" if accepted else "ignored"
        answer[outcome].append({"alert": alert.name, "workload": alert.labels.get("workload"), "why": why})
        ALERTS.labels(outcome).inc()
    return answer


def _judge(session: Session, alert: Alert, deployment: Deployment, now: float) -> tuple[bool, str]:
    name = alert.labels.get("workload")
    if alert.status == "resolved":
        return False, "it is resolved"
    if alert.labels.get("action") != "retrain":
        return False, 'it does not ask for a training: its label action should be "retrain"'
    if name is None or name not in deployment.workloads:
        known = ", ".join(sorted(deployment.workloads))
        return False, f"its label workload is {name!r}, which is no workload here; known: {known}"
    if (before := session.get(AlertRow, (alert.identity, alert.starts_at))) is not None:
        return False, f"it was accepted already, at {moment(before.accepted_at)}"
    policy = deployment.workloads[name]
    standing = repository.standing(session, name, policy.preset)
    decision = accept_alert(policy.trigger, standing, alert.name, now)
    if isinstance(decision, Start):
        row = AlertRow(
            fingerprint=alert.identity, starts_at=alert.starts_at, workload=name, why=decision.why, accepted_at=now
        )
        session.add(row)
        session.flush()
    return isinstance(decision, Start), decision.why
