"""The rules and what their cases say, by Prometheus' own tool."""

import json
import subprocess
from pathlib import Path

import pytest

from infra.native import alertmanager
from tests.infra.prometheus.rule_files import CASES, RULES

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("_installed")]


def test_promtool_finds_nothing_to_object_to() -> None:
    done = subprocess.run(["promtool", "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.name)
def test_the_alerts_fire_when_they_should_and_not_before(cases: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", str(cases)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_fires_too_late_would_be_noticed(tmp_path: Path) -> None:
    """The cases are no ornament: with another `for` they fail."""
    for file in RULES:
        (tmp_path / file.name).write_text(file.read_text("utf-8").replace("for: 1m\n", "for: 2m\n"))
    cases = next(path for path in CASES if path.name == "serving.test.yml").read_text("utf-8")
    (tmp_path / "cases.yml").write_text(cases.replace("../../../../infra/prometheus/rules/", f"{tmp_path}/"))
    command = ["promtool", "test", "rules", str(tmp_path / "cases.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ServiceDown" in done.stdout + done.stderr


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    made = alertmanager.configuration("http://127.0.0.1:8083", str(tmp_path / "alert-token"))
    (tmp_path / "alertmanager.yml").write_text(json.dumps(made))
    command = ["amtool", "check-config", str(tmp_path / "alertmanager.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
