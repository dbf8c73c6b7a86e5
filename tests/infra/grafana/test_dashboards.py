"""The dashboards against the code; their queries run against a real Prometheus in tests/real/monitoring."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.compose.document import document
from infra.grafana.__main__ import FOLDER, made
from tests.infra.prometheus.rule_files import PROMETHEUS_OWN, metrics_in, recorded, registered

PROVISIONING = FOLDER.parent / "provisioning"
DASHBOARDS = sorted(FOLDER.glob("*.json"))
PANELS = [(path.stem, panel) for path in DASHBOARDS for panel in json.loads(path.read_text("utf-8"))["panels"]]
QUERIES = [(f"{name}: {panel['title']}", target["expr"]) for name, panel in PANELS for target in panel["targets"]]


def filled_in(expression: str) -> str:
    """Grafana's own variables as it would replace them."""
    for variable, value in {"$__rate_interval": "1m", "$__range": "1h", "$workload": ".*"}.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def test_the_files_are_those_of_the_code() -> None:
    texts = made()
    assert set(texts) == set(DASHBOARDS)
    for path, text in texts.items():
        assert path.read_text("utf-8") == text, "run `python -m infra.grafana`"


@pytest.mark.parametrize(("where", "expression"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_metric_of_a_panel_is_in_the_code(where: str, expression: str) -> None:
    found = metrics_in(filled_in(expression))
    assert found
    assert found <= registered() | recorded() | PROMETHEUS_OWN


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_ids_of_their_own_a_place_of_their_own_and_words(path: Path) -> None:
    panels = json.loads(path.read_text("utf-8"))["panels"]
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        ids = [target["refId"] for target in panel["targets"]]
        assert len(set(ids)) == len(ids) > 0
    for one, other in combinations(panels, 2):
        assert one["title"] != other["title"]
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_the_loop_fits_on_one_screen() -> None:
    panels = json.loads((FOLDER / "loop.json").read_text("utf-8"))["panels"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) <= 20


def test_every_dashboard_marks_where_a_version_began_to_serve() -> None:
    for path in DASHBOARDS:
        (versions,) = json.loads(path.read_text("utf-8"))["annotations"]["list"]
        assert metrics_in(versions["expr"]) == {"ratchet_promotion_champion_info"}
        assert versions["textFormat"] == "{{version}}"


def test_a_dashboard_that_names_the_workload_lets_one_be_chosen() -> None:
    for path in DASHBOARDS:
        board = json.loads(path.read_text("utf-8"))
        chosen = [variable["name"] for variable in board.get("templating", {}).get("list", [])]
        named = any("$workload" in target["expr"] for panel in board["panels"] for target in panel["targets"])
        assert chosen == (["workload"] if named else [])


def test_what_is_provisioned_is_what_the_dashboards_name_and_docker_compose_mounts() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    for path in DASHBOARDS:
        assert set(re.findall(r'"uid": "(?!ratchet-)([^"]+)"', path.read_text("utf-8"))) == {source["uid"]}
    parts = document()["services"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "ratchet.yml").read_text("utf-8"))["providers"]
    mounts = {v["target"]: v["source"] for v in parts["grafana"]["volumes"] if isinstance(v, dict)}
    assert mounts[provider["options"]["path"]] == "./infra/grafana/dashboards"
    assert mounts["/etc/grafana/provisioning"] == "./infra/grafana/provisioning"
    host, port = source["url"].removeprefix("http://").split(":")
    assert host in parts
    assert any(str(published).endswith(f":{port}") for published in parts[host]["ports"])


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)
