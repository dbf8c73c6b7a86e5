"""Redis, for Argilla's queue of background jobs: password, append-only file, loopback."""

from pathlib import Path

from infra.native.probes import redis_answers
from infra.native.server import NotHealthy, Place, Runs, Server, owned_folder
from infra.native.settings import HOST

# A queue must not forget jobs by itself: full is an error for the writer, never a silent eviction.
_CONFIG = """\
bind {host}
port {port}
dir "{folder}"
requirepass {password}
appendonly yes
save ""
maxmemory 128mb
maxmemory-policy noeviction
"""


def redis(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("redis")
    config = folder / "redis.conf"

    def prepare(_: Runs) -> None:
        owned_folder(folder, None)
        config.touch(0o600)
        config.write_text(
            configuration(HOST, settings.redis_port, folder, place.credentials.redis_password),
            "utf-8",
        )

    return Server(
        name="redis",
        port=settings.redis_port,
        install=lambda installs: installs.apt("redis"),
        prepare=prepare,
        command=["redis-server", config],
        health=lambda: _pong(settings.redis_port, place.credentials.redis_password),
        memory_mb=140,
    )


def configuration(host: str, port: int, folder: Path, password: str) -> str:
    """redis.conf, here and in docker-compose.yml."""
    return _CONFIG.format(host=host, port=port, folder=folder, password=password)


def _pong(port: int, password: str) -> None:
    answer = redis_answers(port, password)
    if answer != "PONG":
        raise NotHealthy(f"Redis on port {port} answered PING with {answer!r}")
