"""How a Kafka cluster is reached: the URL's options, the client's settings, and its errors in our words."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kafka import TopicPartition
from kafka.errors import KafkaError

from shared.bus import Record
from shared.errors import BadConfig, Unavailable

ANSWER_MS = 10_000  # longest wait for the answer to one question


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nothing connects before it is used.

    api_version: None asks the broker. prefix: of every topic and group, so that deployments share a cluster.
    replication: of new topics; -1 is the broker's default. session_timeout_seconds: how long the partitions of a
    consumer that was killed wait for another.
    """

    servers: tuple[str, ...]
    api_version: tuple[int, ...] | None = None
    prefix: str = ""
    replication: int = -1
    delivery_timeout_seconds: float = 30.0
    session_timeout_seconds: float = 10.0

    @classmethod
    def of_url(cls, url: str) -> "Cluster":
        """url: `kafka://host:port[,host:port][?option=value&...]`, the options being the fields above."""
        parts = urlsplit(url)
        servers = tuple(server for server in parts.netloc.split(",") if server)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            options = {name: _OPTIONS[name](text) for name, text in given.items()}
        except (KeyError, ValueError):
            servers = ()
        if not servers or not all(_is_address(server) for server in servers):
            known = ", ".join(_OPTIONS)
            raise BadConfig(f"bus {url!r}: it should look like kafka://host:9092?api_version=2.1; options: {known}")
        return cls(servers, **options)

    @property
    def client(self) -> dict[str, Any]:
        """The settings that every client has."""
        return {
            "bootstrap_servers": list(self.servers),
            "api_version": self.api_version,
            "bootstrap_timeout_ms": ANSWER_MS,
            "reconnect_backoff_max_ms": 2_000,
        }

    def records(self, polled: Mapping[TopicPartition, Iterable[Any]]) -> list[Record]:
        return [
            Record(
                message.topic.removeprefix(self.prefix),
                message.partition,
                message.offset,
                (message.key or b"").decode("utf-8", "replace"),
                message.value or b"",
            )
            for message in chain.from_iterable(polled.values())
        ]


@contextmanager
def told_as_unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka, {doing}: {type(error).__name__}: {error}") from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _topic_prefix(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text) is None:
        raise ValueError(text)
    return text


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "api_version": _version,
    "prefix": _topic_prefix,
    "replication": int,
    "delivery_timeout_seconds": float,
    "session_timeout_seconds": float,
}


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536
