"""Prometheus and Alertmanager: there, looking at us, with rules, and able to reach the scheduler."""

from collections.abc import Iterator
from typing import Any

from services.cli.doctor.findings import Finding, look, ok, skipped, wrong
from services.cli.doctor.web import asked_json
from shared.errors import Unavailable

ALERTS_PATH = "/v1/alerts"


def prometheus(url: str, services: list[str]) -> Iterator[Finding]:
    """services: the names of the jobs it should scrape."""
    name = "Prometheus"
    if not url:
        yield skipped(name, "RATCHET_PROMETHEUS_URL is not set", "set it, and this is looked at too")
        return
    url = url.rstrip("/")
    try:
        targets = asked_json(f"{url}/api/v1/targets?state=active")["data"]["activeTargets"]
        groups = asked_json(f"{url}/api/v1/rules")["data"]["groups"]
        told = asked_json(f"{url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        alerts = asked_json(f"{url}/api/v1/alerts")["data"]["alerts"]
    except Unavailable as error:
        yield wrong(name, str(error), "start it; the loop turns on meanwhile, but nobody is told of anything")
        return
    yield from of_targets(targets, services)
    yield of_rules(groups)
    if not told:
        yield wrong(name, "it tells no Alertmanager", "see `alerting` in prometheus.yml")
    yield from of_alerts(alerts)


def of_targets(targets: list[dict[str, Any]], services: list[str]) -> Iterator[Finding]:
    name = "Prometheus"
    jobs = {str(target["labels"].get("job")): target for target in targets}
    if missing := [service for service in services if service not in jobs]:
        yield wrong(name, f"it does not scrape {', '.join(missing)}", "add them to `scrape_configs` in prometheus.yml")
    away = {s: jobs[s] for s in services if s in jobs and jobs[s]["health"] != "up"}
    for service, target in away.items():
        why = target.get("lastError") or f"health {target['health']}"
        yield wrong(name, f"it cannot scrape {service} at {target['scrapeUrl']}: {why}", "start it, or mend its target")
    if not missing and not away:
        yield ok(name, f"it scrapes {', '.join(services)}")


def of_rules(groups: list[dict[str, Any]]) -> Finding:
    rules = [rule for group in groups for rule in group.get("rules", [])]
    if broken := [rule["name"] for rule in rules if rule.get("health") == "err"]:
        return wrong("alert rules", f"these fail: {', '.join(broken)}", "promtool check rules")
    if not rules:
        return wrong("alert rules", "Prometheus has none", "put infra/prometheus/rules/*.yml into its `rule_files`")
    return ok("alert rules", f"{len(rules)} rules are evaluated")


def of_alerts(alerts: list[dict[str, Any]]) -> Iterator[Finding]:
    for alert in alerts:
        if alert.get("state") == "firing":
            labels, notes = alert.get("labels", {}), alert.get("annotations", {})
            says = f"{labels.get('alertname')} fires: {notes.get('summary') or notes.get('description') or labels}"
            yield look("alert", says, str(notes.get("runbook_url") or notes.get("runbook") or "see its rule"))


def alertmanager(url: str) -> Iterator[Finding]:
    name = "Alertmanager"
    if not url:
        yield skipped(name, "RATCHET_ALERTMANAGER_URL is not set", "set it, and this is looked at too")
        return
    try:
        status = asked_json(f"{url.rstrip('/')}/api/v2/status")
    except Unavailable as error:
        yield wrong(name, str(error), "start it; a drift alert starts no training meanwhile, the other triggers do")
        return
    yield of_receivers(str(status.get("config", {}).get("original", "")))


def of_receivers(configuration: str) -> Finding:
    if ALERTS_PATH not in configuration:
        do = f"give it a receiver whose webhook is the scheduler's {ALERTS_PATH}, as in infra/alertmanager"
        return wrong("Alertmanager", "no receiver of it reaches the scheduler", do)
    return ok("Alertmanager", "it tells the scheduler")
