"""The settings that point Ratchet's services at the stack's servers."""

import shlex
from collections.abc import Iterable

from infra.native.credentials import Credentials, token_in
from infra.native.postgres import USER
from infra.native.server import Place
from infra.native.settings import Where


def addresses(place: Place, names: Iterable[str]) -> dict[str, str]:
    """For the servers named; what none of them gives is left as it is."""
    names = list(names)
    given = addresses_at(place.settings.at, place.credentials, names)
    if "alertmanager" in names:
        given["RATCHET_SCHEDULER_ALERT_TOKEN"] = token_in(place.layout.alert_token)
    return given


def addresses_at(at: Where, credentials: Credentials, names: Iterable[str]) -> dict[str, str]:
    """The same for servers that are reached elsewhere, such as those of docker-compose.yml."""
    database = f"{USER}:{credentials.postgres_password}@{at('postgres')}/ratchet"
    given = {
        "kafka": {"RATCHET_BUS_URL": f"kafka://{at('kafka')}"},
        "postgres": {"RATCHET_DATABASE_URL": f"postgresql+psycopg://{database}"},
        "argilla": {
            "RATCHET_DESK_URL": f"argilla+http://{at('argilla')}",
            "RATCHET_DESK_API_KEY": credentials.argilla_owner_api_key,
        },
        "vllm": {"RATCHET_UPSTREAM_URLS": f"http://{at('vllm')}"},
        "prometheus": {"RATCHET_PROMETHEUS_URL": f"http://{at('prometheus')}"},
        "alertmanager": {"RATCHET_ALERTMANAGER_URL": f"http://{at('alertmanager')}"},
    }
    return {name: value for server in names for name, value in given.get(server, {}).items()}


def as_shell(settings: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
