"""Questions that only a working server answers, in its own protocol and with nothing installed for it.

Each returns when the answer is right and raises NotHealthy with what came back otherwise. All of them give up after
a few seconds, so a server that accepts connections and says nothing counts as not healthy.
"""

import json
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.native.server import NotHealthy
from infra.native.settings import HOST

ANSWER_SECONDS = 4.0
_API_VERSIONS, _METADATA = 18, 3


def http_answers(port: int, path: str) -> None:
    _fetch(port, path)


def http_json(port: int, path: str, headers: Mapping[str, str] | None = None) -> Any:
    try:
        return json.loads(_fetch(port, path, headers))
    except ValueError as error:
        raise NotHealthy(f"GET {path} on port {port} answered something that is not JSON") from error


def _fetch(port: int, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", headers=dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise NotHealthy(f"GET {path} on port {port} answered {error.code}") from error
    except (OSError, urllib.error.URLError) as error:
        raise NotHealthy(f"GET {path} on port {port}: {error}") from error


def redis_answers(port: int, password: str, *command: str) -> Any:
    """What Redis says to the command after the password; by default to PING."""
    words = command or ("PING",)
    try:
        with socket.create_connection((HOST, port), ANSWER_SECONDS) as connection:
            stream = connection.makefile("rwb")
            _send_redis(stream, "AUTH", password)
            _read_redis(stream)
            _send_redis(stream, *words)
            return _read_redis(stream)
    except (OSError, ValueError, IndexError) as error:
        raise NotHealthy(f"{words[0]} on port {port}: {error}") from error


def _send_redis(stream: Any, *words: str) -> None:
    stream.write(b"*%d\r\n" % len(words))
    for word in words:
        stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
    stream.flush()


def _read_redis(stream: Any) -> Any:
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:].decode()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read_redis(stream) for _ in range(int(rest))]
    raise ValueError(line.decode("utf-8", "replace") or "the connection was closed")


def kafka_answers(port: int) -> None:
    """A broker that knows itself as a member of its cluster: one that still loads its log lists none."""
    try:
        with socket.create_connection((HOST, port), ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            error = struct.unpack(">h", _ask_kafka(connection, _API_VERSIONS, 0, b"")[:2])[0]
            # Metadata version 1: no topics asked for; the answer begins with the list of brokers.
            brokers = struct.unpack(">i", _ask_kafka(connection, _METADATA, 1, struct.pack(">i", 0))[:4])[0]
    except (OSError, struct.error) as failure:
        raise NotHealthy(f"Kafka on port {port}: {failure}") from failure
    if error or brokers < 1:
        raise NotHealthy(f"Kafka on port {port} answers, but has error {error} and lists {brokers} brokers")


def _ask_kafka(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    client = b"ratchet-stack"
    request = struct.pack(">hhih", api, version, 1, len(client)) + client + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    size = struct.unpack(">i", _exactly(connection, 4))[0]
    return _exactly(connection, min(size, 1 << 20))[4:]  # without the correlation id


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise OSError("the connection was closed in the middle of an answer")
        parts += part
    return parts


def postgres_answers(psql: Path, port: int, user: str, password: str, database: str, query: str = "select 1") -> str:
    command = [str(psql), "-XAtq", "-h", HOST, "-p", str(port), "-U", user, "-d", database, "-w", "-c", query]
    environment = {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "4", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    try:
        asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * ANSWER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotHealthy(f"PostgreSQL on port {port} did not answer {query!r}") from error
    if asked.returncode != 0:
        raise NotHealthy(asked.stderr.strip()[-300:])
    return asked.stdout.strip()
