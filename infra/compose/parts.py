"""The pieces every service of docker-compose.yml is made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Part = dict[str, Any]

# Inside the network every server listens on its own image's usual port.
PORTS = {
    "kafka": 9092,
    "postgres": 5432,
    "redis": 6379,
    "opensearch": 9200,
    "argilla": 6900,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
    "vllm": 8000,
}
LOOPBACK = "127.0.0.1"
_LOGGING = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def at(server: str) -> str:
    """host:port of a server inside the network."""
    return f"{server}:{PORTS[server]}"


def published(port_here: str, port_inside: int, bind: str = LOOPBACK) -> str:
    return f"{bind}:{port_here}:{port_inside}"


def lasting(image: str, memory: str, **more: Any) -> Part:
    """A service that runs until it is stopped."""
    return {
        "image": image,
        "restart": "unless-stopped",
        "mem_limit": memory,
        "security_opt": ["no-new-privileges:true"],
        "logging": _LOGGING,
        **more,
    }


def once(image: str, memory: str, **more: Any) -> Part:
    """A service that does one thing and ends; tried again while it fails."""
    return {**lasting(image, memory, **more), "restart": "on-failure:10"}


def healthcheck(*command: str, start_period: str = "30s", interval: str = "10s") -> Part:
    return {
        "test": ["CMD", *command],
        "interval": interval,
        "timeout": "10s",
        "retries": 3,
        "start_period": start_period,
        "start_interval": "2s",
    }


def after(healthy: Sequence[str] = (), done: Sequence[str] = ()) -> Part:
    conditions = {name: {"condition": "service_healthy"} for name in healthy}
    return conditions | {name: {"condition": "service_completed_successfully"} for name in done}


def read_only_file(source: str, target: str) -> Part:
    """A file or folder of this checkout; refused by compose where it is missing."""
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def as_environment(properties: str) -> dict[str, str]:
    """Kafka's properties as its image takes them: `log.dirs=x` is KAFKA_LOG_DIRS=x."""
    pairs = (line.split("=", 1) for line in properties.splitlines() if line)
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in pairs}


def as_options(settings: Mapping[str, str], option: str) -> list[str]:
    return [word for name, value in settings.items() for word in (option, f"{name}={value}")]


ROOT = Path(__file__).parents[2]
