"""The rules against the code; promtool itself runs in tests/real/monitoring."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.cli.__main__ import app
from services.cli.stack import stack
from tests.infra.prometheus.rule_files import (
    PROMETHEUS_OWN,
    ROOT,
    alerts,
    cases,
    metrics_in,
    recorded,
    registered,
    rules,
)
from tests.readme_tables import TABLES

RUNBOOKS = ROOT / "docs" / "runbooks"


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_metric_of_a_rule_is_in_the_code(rule: dict[str, Any]) -> None:
    found = metrics_in(rule["expr"])
    assert found
    assert found <= registered() | recorded() | PROMETHEUS_OWN


def test_a_metric_that_does_not_exist_would_be_noticed() -> None:
    found = metrics_in('sum(rate(ratchet_made_up_total{a="b"}[5m] offset 1h)) / on (w) group_left() (1 / up)')
    assert found == {"ratchet_made_up_total", "up"}
    assert "ratchet_made_up_total" not in registered()
    with pytest.raises(ValueError):  # noqa: PT011 - what the parser says is its own
        metrics_in("sum(")


@pytest.mark.parametrize("name", alerts())
def test_every_alert_says_how_bad_it_is_and_where_its_runbook_is(name: str) -> None:
    alert = alerts()[name]
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    assert re.findall(r"^#+ .*", page, re.MULTILINE) == [
        f"# {name}",
        "## What it means",
        "## What to look at",
        "## What to do",
    ]


def test_every_runbook_belongs_to_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(alerts())


def test_only_drift_asks_for_a_training() -> None:
    asking = {name: rule for name, rule in alerts().items() if rule["labels"].get("action") == "retrain"}
    assert set(asking) == {"Drift"}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_names_only_commands_settings_metrics_and_pages_that_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    servers = {command.name for command in stack.registered_commands}
    for command, word in re.findall(r"`ratchet ([a-z-]+)(?: ([a-z-]+))?", text):
        assert command in known or (command == "stack" and word in servers), command
    settings = TABLES["settings"]()
    for setting in re.findall(r"`(RATCHET_[A-Z_]+)`", text):
        assert f"`{setting}`" in settings, setting
    assert set(re.findall(r"\bratchet_[a-z_]+", text)) <= registered()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (page.parent / target).exists(), target
    for file in re.findall(r"`(infra/[\w./-]+)`", text):
        assert (ROOT / file).exists(), file


@pytest.mark.parametrize("name", alerts())
def test_every_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    checks = [c for case in cases() for c in case["promql_expr_test"] if f'alertname="{name}"' in c["expr"]]
    assert any(c["exp_samples"] for c in checks), "it is never seen to fire"
    assert any(not c["exp_samples"] for c in checks), "it is never seen not to fire"
