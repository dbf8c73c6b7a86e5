import copy
import hashlib
import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import services
from infra.compose.__main__ import FILES
from infra.compose.variables import CHOICES, SECRETS, ports
from shared.settings import EnvironmentSettings, SharedSettings

ROOT = Path(__file__).parents[3]
SPECIFICATION = Path(__file__).parent / "specification"
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
PARTS: dict[str, Any] = DOCUMENT["services"]
OURS = {name: part for name, part in PARTS.items() if "build" in part}
ONCE = {"migrate", "argilla-setup"}
TOOLS = {"doctor"}


def test_the_committed_files_are_what_the_code_makes() -> None:
    for path, made in FILES.items():
        assert path.read_text("utf-8") == made(), f"{path.name} is old: run `make compose`"


def test_it_follows_the_compose_specification() -> None:
    _validate(DOCUMENT)


def test_so_does_what_stands_beside_it_for_gpus() -> None:
    beside = yaml.safe_load((ROOT / "infra" / "docker-compose.gpu.yml").read_text("utf-8"))
    _validate(beside)
    assert set(beside["services"]) <= set(PARTS)


@pytest.mark.parametrize(
    "mistake",
    [{"imagine": "x"}, {"ports": {"a": 1}}, {"healthcheck": {"test": 3}}, {"depends_on": {"kafka": {"state": "up"}}}],
)
def test_the_specification_refuses_a_mistake(mistake: dict[str, Any]) -> None:
    broken = copy.deepcopy(DOCUMENT)
    broken["services"]["gateway"] |= mistake
    with pytest.raises(jsonschema.ValidationError):
        _validate(broken)


def test_the_specification_is_the_one_its_readme_names() -> None:
    found = hashlib.sha256((SPECIFICATION / "compose-spec.json").read_bytes()).hexdigest()
    assert found in (SPECIFICATION / "README.md").read_text("utf-8")


def test_no_secret_has_a_default_and_every_variable_is_explained() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert used == SECRETS.keys() | CHOICES.keys() | ports().keys()
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(.)(.)", text)
        assert uses, name
        assert set(uses) == {(":", "?")}, name
    example = (ROOT / "infra" / "env.example").read_text("utf-8")
    assert set(re.findall(r"^#?(RATCHET_[A-Z_]+)=", example, re.MULTILINE)) == used


def test_every_port_is_bound_to_loopback_until_somebody_says_otherwise() -> None:
    opened = {}
    for name, part in PARTS.items():
        for published in part.get("ports", []):
            bind = re.match(r"(\$\{[^}]*\}|[^:]*):", published)
            assert bind is not None, published
            if bind[1] != "127.0.0.1":
                opened[name] = bind[1]
    binds = {"gateway": "RATCHET_GATEWAY_BIND", "annotation": "RATCHET_DESK_BIND", "argilla": "RATCHET_DESK_BIND"}
    assert opened == {name: f"${{{variable}:-127.0.0.1}}" for name, variable in binds.items()}


def test_every_part_has_a_limit_a_health_check_and_a_way_back() -> None:
    for name, part in PARTS.items():
        assert part["mem_limit"], name
        assert part["logging"]["options"]["max-size"], name
        assert part["security_opt"] == ["no-new-privileges:true"], name
        back = "on-failure:10" if name in ONCE else "no" if name in TOOLS else "unless-stopped"
        assert part["restart"] == back, name
        assert ("healthcheck" in part) == (name not in ONCE | TOOLS), name


def test_our_services_have_a_read_only_root_and_no_capabilities() -> None:
    assert set(OURS) == {"migrate", "doctor", "gateway", "annotation", "scheduler", "promotion", "model-server"}
    for name, part in OURS.items():
        assert part["read_only"] is True, name
        assert part["cap_drop"] == ["ALL"], name
        assert part["tmpfs"], name
        assert "user" not in part, "the image's own user"


def test_only_services_that_need_torch_run_in_the_image_that_has_it() -> None:
    stages = {name: part["build"]["target"] for name, part in OURS.items()}
    assert {name for name, stage in stages.items() if stage == "training"} == {"scheduler", "model-server"}
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text("utf-8")
    for stage in stages.values():
        assert re.search(rf"^FROM run AS {stage}$", dockerfile, re.MULTILINE)


def test_a_service_waits_for_health_and_only_for_what_is_there() -> None:
    for name, part in PARTS.items():
        for needed, wait in part.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert wait == {"condition": wanted}, f"{name} -> {needed}"
            assert needed in PARTS
    assert "depends_on" not in PARTS["gateway"], "an answer is never kept back because a server is away"


def test_vllm_and_the_doctor_start_when_they_are_asked_for() -> None:
    asked_for = {name: part["profiles"] for name, part in PARTS.items() if "profiles" in part}
    assert asked_for == {"vllm": ["gpu"], "doctor": ["tools"]}


def test_every_mounted_file_of_this_checkout_is_there() -> None:
    mounted = {v["source"] for part in PARTS.values() for v in part.get("volumes", []) if isinstance(v, dict)}
    files = {source for source in mounted if not source.startswith("$")}
    assert files
    for source in files:
        assert any((ROOT / source).iterdir()), source


def test_grafana_is_pointed_at_prometheus_and_the_folder_of_its_dashboards() -> None:
    provisioning = ROOT / "infra" / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    providers = yaml.safe_load((provisioning / "dashboards" / "ratchet.yml").read_text("utf-8"))
    folders = {v["target"] for v in PARTS["grafana"]["volumes"] if isinstance(v, dict)}
    assert providers["providers"][0]["options"]["path"] in folders


def test_every_setting_given_to_our_services_is_one() -> None:
    known = set()
    for owner in _settings_classes():
        prefix = owner.model_config.get("env_prefix", "")
        known |= {f"{prefix}{name.upper()}" for name in owner.model_fields}
    for name, part in OURS.items():
        assert set(part["environment"]) <= known, name


def test_the_gateway_and_the_model_server_know_no_password() -> None:
    for name in ("gateway", "model-server"):
        assert not any(secret in json.dumps(PARTS[name]) for secret in SECRETS), name


def test_every_named_volume_and_configuration_is_declared_and_used() -> None:
    named = {v.split(":")[0] for part in PARTS.values() for v in part.get("volumes", []) if isinstance(v, str)}
    assert {n for n in named if not n.startswith("$")} == set(DOCUMENT["volumes"])
    assert {c["source"] for p in PARTS.values() for c in p.get("configs", [])} == set(DOCUMENT["configs"])


def _settings_classes() -> list[type[EnvironmentSettings]]:
    found: list[type[EnvironmentSettings]] = [SharedSettings]
    for service in pkgutil.iter_modules(services.__path__, "services."):
        package = importlib.import_module(service.name)
        if any(module.name == "settings" for module in pkgutil.iter_modules(package.__path__)):
            module = importlib.import_module(f"{service.name}.settings")
            found += [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, EnvironmentSettings)]
    return found


def _validate(document: dict[str, Any]) -> None:
    schema = json.loads((SPECIFICATION / "compose-spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(document)
