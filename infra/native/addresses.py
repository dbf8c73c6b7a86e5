"""The settings that point Ratchet's services at the stack's servers."""

import shlex
from collections.abc import Iterable

from infra.native.postgres import USER
from infra.native.server import Place
from infra.native.settings import HOST


def addresses(place: Place, names: Iterable[str]) -> dict[str, str]:
    """For the servers named; what none of them gives is left as it is."""
    settings, credentials = place.settings, place.credentials
    database = f"{USER}:{credentials.postgres_password}@{HOST}:{settings.postgres_port}/ratchet"
    given = {
        "kafka": {"RATCHET_BUS_URL": f"kafka://{HOST}:{settings.kafka_port}"},
        "postgres": {"RATCHET_DATABASE_URL": f"postgresql+psycopg://{database}"},
        "argilla": {
            "RATCHET_DESK_URL": f"argilla+http://{HOST}:{settings.argilla_port}",
            "RATCHET_DESK_API_KEY": credentials.argilla_owner_api_key,
        },
        "vllm": {"RATCHET_UPSTREAM_URLS": f"http://{HOST}:{settings.vllm_port}"},
    }
    return {name: value for server in names for name, value in given.get(server, {}).items()}


def as_shell(settings: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
