"""Prometheus: asks every service of ours for its metrics, and tells Alertmanager what its rules find."""

import json
from pathlib import Path

from infra.native.probes import http_answers
from infra.native.server import Place, Runs, Server, owned_folder
from infra.native.settings import HOST, Where
from shared.settings import SharedSettings

RULES = Path(__file__).parents[1] / "prometheus" / "rules"
_SCRAPED = ("gateway", "model_server", "annotation", "scheduler", "promotion")

RETENTION = ("--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB")
ENVIRONMENT = {"GOMEMLIMIT": "200MiB"}


def prometheus(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("prometheus")
    config, rules = folder / "prometheus.yml", (settings.prometheus_rules or RULES).resolve()

    def prepare(run: Runs) -> None:
        owned_folder(folder, None)
        config.write_text(
            json.dumps(configuration(settings.at, service_at, str(rules / "*.yml")), indent=1), "utf-8"
        )  # JSON is YAML too
        run(["promtool", "check", "config", config])

    return Server(
        name="prometheus",
        port=settings.prometheus_port,
        install=lambda installs: installs.apt("prometheus"),
        prepare=prepare,
        command=[
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'series'}",
            *RETENTION,
            f"--web.listen-address={HOST}:{settings.prometheus_port}",
        ],
        environment=ENVIRONMENT,
        health=lambda: http_answers(settings.prometheus_port, "/-/ready"),
        memory_mb=220,
    )


def service_at(name: str) -> str:
    """host:port of one of our services."""
    return SharedSettings.load().url_of(name).split("://", 1)[1]


def configuration(server_at: Where, service_at: Where, rules: str) -> dict[str, object]:
    """prometheus.yml, here and in docker-compose.yml."""
    jobs = {name: service_at(name) for name in _SCRAPED}
    jobs |= {name: server_at(name) for name in ("prometheus", "alertmanager")}
    return {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [rules],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [server_at("alertmanager")]}]}],
        },
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in jobs.items()
        ],
    }
