"""Alertmanager: an alert with `action="retrain"` goes to the scheduler's door, every other is only shown."""

import json

from infra.native.probes import http_answers
from infra.native.server import Place, Runs, Server, owned_folder
from infra.native.settings import HOST
from shared.settings import SharedSettings

ENVIRONMENT = {"GOMEMLIMIT": "90MiB"}


def alertmanager(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("alertmanager")
    config = folder / "alertmanager.yml"

    def prepare(_: Runs) -> None:
        owned_folder(folder, None)
        config.write_text(
            json.dumps(configuration(SharedSettings.load().url_of("scheduler")), indent=1), "utf-8"
        )  # JSON is YAML too

    return Server(
        name="alertmanager",
        port=settings.alertmanager_port,
        install=lambda installs: installs.apt("alertmanager"),
        prepare=prepare,
        command=[
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={folder / 'silences'}",
            f"--web.listen-address={HOST}:{settings.alertmanager_port}",
            "--cluster.listen-address=",  # it is alone
        ],
        environment=ENVIRONMENT,
        health=lambda: http_answers(settings.alertmanager_port, "/-/ready"),
        memory_mb=100,
    )


def configuration(scheduler_url: str) -> dict[str, object]:
    """alertmanager.yml, here and in docker-compose.yml."""
    alerts = f"{scheduler_url}/v1/alerts"
    return {
        "route": {
            "receiver": "shown",
            "group_by": ["alertname", "workload"],
            "group_wait": "5s",
            "group_interval": "1m",
            "repeat_interval": "4h",
            "routes": [{"matchers": ['action="retrain"'], "receiver": "scheduler"}],
        },
        "receivers": [
            {"name": "shown"},
            {"name": "scheduler", "webhook_configs": [{"url": alerts, "send_resolved": False}]},
        ],
    }
