"""How a Kafka cluster is reached: the URL's options, the client's settings, and its errors in our words."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

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
    consumer that was killed wait for another. security: the client's own names and values (`ssl_cafile`, ...).
    """

    servers: tuple[str, ...]
    api_version: tuple[int, ...] | None = None
    prefix: str = ""
    replication: int = -1
    delivery_timeout_seconds: float = 30.0
    session_timeout_seconds: float = 10.0
    security: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_url(cls, url: str) -> "Cluster":
        """url: `kafka://[user:password@]host:port[,host:port][?option=value&...]`; options: `_OPTIONS` and `_SECURITY`.

        A user asks for SASL PLAIN over TLS, unless the options say otherwise. Raises BadConfig, without the password.
        """
        parts = urlsplit(url)
        account, _, addresses = parts.netloc.rpartition("@")
        servers = tuple(server for server in addresses.split(",") if server)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            security = _of_account(account) | {name: given.pop(name) for name in _SECURITY if name in given}
            options = {name: _OPTIONS[name](text) for name, text in given.items()}
        except (KeyError, ValueError):
            servers = ()
        if not servers or not all(_is_address(server) for server in servers):
            shown = url.replace(f"{account}@", "...@") if account else url
            raise BadConfig(
                f"bus {shown!r}: it should look like kafka://host:9092?api_version=2.1 or "
                f"kafka://user:password@host:9093; options: {', '.join((*_OPTIONS, *_SECURITY))}"
            )
        _refuse_half_security(security)
        return cls(servers, **options, security=security)

    @property
    def client(self) -> dict[str, Any]:
        """The settings that every client has."""
        return {
            "bootstrap_servers": list(self.servers),
            "api_version": self.api_version,
            "bootstrap_timeout_ms": ANSWER_MS,
            "reconnect_backoff_max_ms": 2_000,
            **self.security,
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
        said = f"Kafka, {doing}: {type(error).__name__}: {error}"
        if "bootstrap" in str(error):  # the client tells the reason only to its log
            said += "; no broker is there, or it refuses the password or the certificate: see kafka.net in the log"
        raise Unavailable(said) from error


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


_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
_SECURITY = ("security_protocol", "sasl_mechanism", *_FILES)


def _of_account(account: str) -> dict[str, str]:
    if not account:
        return {}
    user, _, password = account.partition(":")
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": unquote(user),
        "sasl_plain_password": unquote(password),
    }


def _refuse_half_security(security: Mapping[str, str]) -> None:
    """The client finds these out at its first connection, or falls back to plain text without a word."""
    protocol = security.get("security_protocol", "PLAINTEXT")
    if protocol not in _PROTOCOLS:
        raise BadConfig(f"bus: security_protocol={protocol!r} is none of {', '.join(_PROTOCOLS)}")
    if protocol.startswith("SASL") and not security.get("sasl_plain_username"):
        raise BadConfig(f"bus: {protocol} needs a user: kafka://user:password@host:9093")
    for name in _FILES:
        if name in security and "SSL" not in protocol.removeprefix("SASL_"):
            raise BadConfig(f"bus: {name} needs security_protocol=SSL or SASL_SSL, not {protocol}")
        if name in security and not Path(security[name]).is_file():
            raise BadConfig(f"bus: {name}={security[name]!r} is no file")
