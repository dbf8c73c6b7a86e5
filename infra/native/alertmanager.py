"""Alertmanager: an alert with `action="retrain"` goes to the scheduler's door, every other is only shown.

It shows the scheduler the token that `ratchet stack env` gives the scheduler as RATCHET_SCHEDULER_ALERT_TOKEN.
"""

import json

from infra.native.credentials import token_in
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
        token_in(place.layout.alert_token)
        made = configuration(SharedSettings.load().url_of("scheduler"), str(place.layout.alert_token))
        config.write_text(json.dumps(made, indent=1), "utf-8")  # JSON is YAML too

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


def configuration(scheduler_url: str, token_file: str) -> dict[str, object]:
    """alertmanager.yml, here and in docker-compose.yml. Notifications of one alert start one training: the first."""
    door = {
        "url": f"{scheduler_url}/v1/alerts",
        "send_resolved": False,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": token_file}},
    }
    # An alert that came within a workload's cooldown was not taken: it is sent again while it lasts.
    retrain = {"matchers": ['action="retrain"'], "receiver": "scheduler", "repeat_interval": "30m"}
    return {
        "route": {
            "receiver": "shown",
            "group_by": ["alertname", "workload"],
            "group_wait": "5s",
            "group_interval": "1m",
            "repeat_interval": "4h",
            "routes": [retrain],
        },
        "receivers": [
            {"name": "shown"},
            {"name": "scheduler", "webhook_configs": [door]},
        ],
    }
