"""Every server of the stack, in the order of a start, and what a choice of names comes to."""

from collections.abc import Callable, Iterable, Mapping

from infra.native.alertmanager import alertmanager
from infra.native.argilla import argilla, argilla_worker
from infra.native.kafka import kafka
from infra.native.opensearch import opensearch
from infra.native.postgres import postgres
from infra.native.prometheus import prometheus
from infra.native.redis import redis
from infra.native.server import Place, Server
from infra.native.vllm import vllm
from shared.errors import BadConfig

SERVERS: Mapping[str, Callable[[Place], Server]] = {
    "kafka": kafka,
    "postgres": postgres,
    "redis": redis,
    "opensearch": opensearch,
    "argilla": argilla,
    "argilla-worker": argilla_worker,
    "alertmanager": alertmanager,
    "prometheus": prometheus,
    "vllm": vllm,
}
ON_REQUEST = frozenset({"vllm"})  # not part of a plain `up`: it needs a model, and more memory than all others


def chosen(place: Place, only: Iterable[str] = (), beside: Iterable[str] = ()) -> list[Server]:
    """The servers named, or all but those on request; with everything they need, in the order of a start."""
    only, beside = set(only), set(beside)
    if unknown := (only | beside) - set(SERVERS):
        raise BadConfig(f"there is no server {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    servers = {name: make(place) for name, make in SERVERS.items()}
    names = (only or set(SERVERS) - ON_REQUEST) | beside
    while missing := {need for name in names for need in servers[name].needs} - names:
        names |= missing
    return [server for name, server in servers.items() if name in names]


def leaves_first(servers: Iterable[Server]) -> list[Server]:
    """Those nobody else among them needs: what may be stopped now."""
    servers = list(servers)
    needed = {need for server in servers for need in server.needs}
    return [server for server in servers if server.name not in needed]
