"""A small pooled HTTP/1.1 client for model servers: httptools and one asyncio protocol, no task or timer a request.

A connection carries one request at a time and goes back to its pool once its answer is complete.
Fails: ConnectFailed before anything was asked; ClosedEarly when the server left before its first byte; after that
Refused (502). Time is watched from outside (`watch.py`), which ends a connection through `abort`.
Reading pauses while nobody takes what has arrived: a slow client slows its model server, and does not fill our memory.
"""

import asyncio
import time
from typing import cast
from urllib.parse import urlsplit

import httptools

from services.gateway.refusals import upstream_broke

HIGH_WATER_BYTES = 256 * 1024
POOLED_SECONDS = 3.0  # shorter than the 5 s after which uvicorn, and so vLLM, closes an idle connection
DRAIN_SECONDS = 2.0

# Ends at this hop, or is said anew by our own server.
_NOT_RELAYED = frozenset(
    b"connection content-length date keep-alive proxy-authenticate proxy-connection server te trailer "
    b"transfer-encoding upgrade".split()
)
_NAMES_NO_HEADER = (b"", b"keep-alive", b"close")

Header = tuple[bytes, bytes]


class ConnectFailed(Exception):
    """No connection; nothing was asked."""


class ClosedEarly(Exception):
    """The server closed the connection before the first byte of an answer."""


class _MoreThanAsked(Exception):
    """Ends the parsing."""


class Connection(asyncio.Protocol):
    """One connection. `status` and `headers` are the answer's once `ask` has returned."""

    def __init__(self, pool: "Upstream") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._interim = False
        self.closed = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._asked = self._draining = False
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = self._framed = self._keep = False
        self.error: Exception | None = None
        self.status = 0  # 0: no head yet
        self.headers: list[Header] = []
        self.content_type = b""
        self._hop_by_hop = b""  # the answer's header Connection
        self.complete = False
        self.heard_at = 0.0  # 0: not a byte yet

    @property
    def is_event_stream(self) -> bool:
        return self.content_type.startswith(b"text/event-stream")

    @property
    def waiting(self) -> bool:
        """Whether the request waits for the server, and not for its client."""
        return self._waiter is not None

    async def ask(self, request: bytes) -> None:
        """Sends the request; returns when the answer's head is here."""
        assert self._transport is not None
        self._asked = True
        self._transport.write(request)
        while not self.status:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def read(self) -> bytes:
        """What has arrived of the body since the last read, at least a byte; empty at its end."""
        while not self._pieces:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def read_whole(self, max_bytes: int) -> bytes:
        data = await self.read()
        if self.complete and not self._pieces:
            return data
        parts, size = [data], len(data)
        while data:
            if size > max_bytes:
                raise upstream_broke(f"it is larger than {max_bytes} bytes")
            data = await self.read()
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def release(self) -> None:
        """The request is done with this connection; an answer that arrived to its end leaves it usable for the next.

        Not one that stopped reading, with much of the answer left unread: the next would wait on it for ever.
        """
        if self.complete and self._keep and not self.closed and not self._paused:
            self._reset()
            self._pool.keep(self)
        else:
            self.close()

    def drain(self) -> None:
        """Like `release`, for a stream whose last event has been read but whose end is still on its way."""
        if self.complete or self.closed:
            self.release()
        else:
            self._draining = True
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._stop_draining)

    def abort(self, error: Exception) -> None:
        """Ends the request with an error, and the server's work with it."""
        if self.error is None:
            self.error = error
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.close()  # an answer to nothing, such as a 408 before an idle close
            return
        self.heard_at = time.monotonic()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep = False
            if not self.complete:  # what follows a whole answer was not asked for, and does not spoil it
                self.abort(upstream_broke(f"it is not HTTP: {error}"))
                return
        if self._draining and self.complete:
            self.release()
            return
        if self._waiting_bytes > HIGH_WATER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        if self._asked and not self.complete and self.error is None:
            if not self.status:
                self.error = ClosedEarly() if not self.heard_at else upstream_broke("it ended within its head")
            elif self._framed or _error is not None:
                self.error = upstream_broke("the connection closed in the middle of it")
            else:
                self.complete = True  # the body was everything until the close
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        if self.complete:
            raise _MoreThanAsked  # before it is taken for a part of this answer

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.lower()
        elif name == b"connection":
            self._hop_by_hop = value.lower()
        elif name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        if name not in _NOT_RELAYED:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            self.headers.clear()
            return
        if self._hop_by_hop not in _NAMES_NO_HEADER:
            names = {name.strip() for name in self._hop_by_hop.split(b",")}
            self.headers = [header for header in self.headers if header[0] not in names]
        self.status = status

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._interim or self.complete:
            return
        self.complete = True
        self._keep = self._parser.should_keep_alive()

    def _stop_draining(self) -> None:
        if self._draining:
            self.close()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Upstream:
    """One replica: its address, its idle connections, and whether it has disappointed lately."""

    def __init__(self, url: str, api_key: str, connect_timeout_seconds: float) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._path = parts.path.rstrip("/")
        self._common = f"host: {parts.netloc.rpartition('@')[2]}\r\n".encode("ascii")
        if api_key:
            self._common += f"authorization: Bearer {api_key}\r\n".encode("ascii")
        self._chat_head = self._head("POST", "/v1/chat/completions") + b"content-type: application/json\r\n"
        self._idle: list[Connection] = []
        self.in_flight = 0
        self.avoid_until = 0.0  # time.monotonic()

    def chat_request(self, body: bytes, headers: bytes) -> bytes:
        """headers: further header lines, each with its line end."""
        return b"%bcontent-length: %d\r\n%b\r\n%b" % (self._chat_head, len(body), headers, body)

    def get_request(self, path: str, headers: bytes = b"") -> bytes:
        return self._head("GET", path) + headers + b"\r\n"

    def take_idle(self) -> Connection | None:
        oldest = time.monotonic() - POOLED_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._tls or None
                )
        except TimeoutError:
            raise ConnectFailed(f"{self.url} did not accept within {self._connect_timeout_seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{self.url}: {error}") from error
        return connection

    def keep(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def close_idle(self, older_than_seconds: float = 0.0) -> None:
        latest = time.monotonic() - older_than_seconds
        for connection in [c for c in self._idle if c.idle_since <= latest]:
            self._idle.remove(connection)
            connection.close()

    def _head(self, method: str, path: str) -> bytes:
        return f"{method} {self._path}{path} HTTP/1.1\r\n".encode("ascii") + self._common
