"""The demo's figures, measured by running it as a newcomer does. About three minutes on two cores."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    command = [sys.executable, "-m", "services.cli", "demo", "--data", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, cwd=folder.parent)
    log = folder / "up.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text()[-4000:] if log.exists() else "")
    (folder / "screen.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "demo.json").read_text())
    return found


def test_the_bare_base_does_not_know_the_house_format(figures: dict[str, Any]) -> None:
    assert figures["champion_exact"] <= 0.30


def test_the_promoted_candidate_does(figures: dict[str, Any]) -> None:
    assert figures["candidate_exact"] >= 0.85
    assert figures["candidate_fields"] >= 0.95
    assert figures["mcnemar_p"] < 0.001
    assert figures["groups"] >= 60


def test_the_promoted_candidate_forgot_nothing(figures: dict[str, Any]) -> None:
    assert figures["general_candidate"] >= figures["general_champion"] - 0.03


def test_the_careless_candidate_is_rejected_because_it_forgot(figures: dict[str, Any]) -> None:
    careless, promoted = figures["verdicts"]
    assert careless["verdict"] == "REJECT"
    assert careless["reasons"][0].startswith("forgot"), careless
    assert figures["careless_general"] < figures["general_champion"] - 0.03
    assert figures["careless_exact"] > figures["champion_exact"] + 0.3, "it had learned the task all the same"
    assert promoted["verdict"] == "PROMOTE"
    assert careless["version"] != promoted["version"]


def test_no_request_failed_while_the_model_changed_under_eight_clients(figures: dict[str, Any]) -> None:
    assert figures["swap_requests"] >= 50
    assert figures["swap_failed_requests"] == 0


def test_fresh_requests_that_nobody_corrected_are_better_afterwards(figures: dict[str, Any]) -> None:
    assert figures["fresh_before_exact"] <= 0.30
    assert figures["fresh_after_exact"] >= 0.80


def test_the_reports_are_where_the_demo_says(folder: Path, figures: dict[str, Any]) -> None:
    for verdict in figures["verdicts"]:
        report = folder / "artifacts" / "reports" / verdict["version"] / "report.html"
        assert verdict["verdict"] in report.read_text()
        assert verdict["version"] in (folder / "screen.txt").read_text()


def test_the_demo_shows_the_lineage_of_one_answer(folder: Path) -> None:
    screen = (folder / "screen.txt").read_text()
    for step in ("answer", "version", "run", "snapshot", "example", "correction", "sample"):
        assert f" {step} " in screen or f"\n{step} " in screen, step
