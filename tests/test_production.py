"""docs/production.md says what is so: the tests it names are there, and so are its settings, commands and limits."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from infra.compose.variables import CHOICES, SECRETS, ports
from services.cli.__main__ import app
from tests.readme_tables import settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "production.md").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
LIMITS = {
    "PostgreSQL": "postgres",
    "Kafka": "kafka",
    "Argilla": "argilla",
    "argilla-worker": "argilla-worker",
    "Redis": "redis",
    "OpenSearch": "opensearch",
    "Prometheus": "prometheus",
    "Alertmanager": "alertmanager",
    "Grafana": "grafana",
}


def test_every_test_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 10
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not test or test in names, f"{file}::{test}"


def test_every_file_it_names_is_there() -> None:
    files = set(re.findall(r"`((?:tests|infra|docs)/[\w./-]+)`", PAGE)) | set(re.findall(r"-f (\S+)", PAGE))
    linked = {f"docs/{name}" for name in re.findall(r"\]\(([\w./-]+)\)", PAGE)}
    for name in files | linked:
        assert (ROOT / name).exists(), name


def test_every_setting_it_names_is_one() -> None:
    known = set(re.findall(r"`(RATCHET_\w+)`", settings())) | SECRETS.keys() | CHOICES.keys() | ports().keys()
    assert set(re.findall(r"\b(RATCHET_[A-Z_]+)\b", PAGE)) <= known


def test_every_command_of_ratchet_it_shows_exists() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    shown = set(re.findall(r"(?:`|^|run --rm )ratchet ([a-z-]+)", PAGE, re.MULTILINE))
    assert {"doctor", "migrate", "up", "stack"} <= shown
    assert shown <= known


def test_every_service_its_docker_commands_name_exists() -> None:
    for line in re.findall(r"docker compose (?:stop|run --rm|exec -T) ([a-z -]+)", PAGE):
        name = line.split(" ")[0]
        assert name in COMPOSE["services"], line
    stopped = re.search(r"docker compose stop ([a-z -]+)`", PAGE)
    assert stopped is not None
    assert set(stopped[1].split()) <= set(COMPOSE["services"])


@pytest.mark.parametrize(("server", "service"), LIMITS.items())
def test_a_servers_row_has_its_limit_and_its_volume(server: str, service: str) -> None:
    row = re.search(rf"^\| {server} \|.*$", PAGE, re.MULTILINE)
    assert row is not None
    part = COMPOSE["services"][service]
    assert f" {part['mem_limit']} " in row[0]
    kept = {v.split(":")[0] for v in part.get("volumes", []) if isinstance(v, str)}
    if server != "Argilla":  # its folder holds nothing of ours
        assert all(f"`{name}`" in row[0] for name in kept), kept


def test_the_ports_it_tells_are_the_ones_published() -> None:
    published = {
        int(match[1])
        for part in COMPOSE["services"].values()
        for port in part.get("ports", [])
        if (match := re.search(r":-(\d+)\}:\d+$", port))
    }
    told = {int(number) for number in re.findall(r"\b(\d{4,5}) [A-Za-z]", PAGE.split("## Who may call what")[1])}
    assert published - {18000} <= told  # vLLM's is told by its port inside
