"""uvicorn for a public door: httptools and uvloop, no access log, and limits on what one connection may cost.

uvicorn alone waits for ever for a head that trickles in, and keeps whatever arrives of it; takes in as many requests
ahead of their turn as a client sends, and does not tell the one being answered that the client has left; keeps an
answer for ever that its client does not read.
"""

import asyncio
import socket
import sys
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.refusals import Refused, head_too_large, no_http

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_AHEAD_BYTES = 256 * 1024  # of requests that wait for their turn on one connection
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 10


def serve(app: Any, host: str, port: int, head_timeout_seconds: float, unread_timeout_seconds: float) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests in flight (10 s at most).

    unread_timeout_seconds: how long a client may take nothing of what was sent to it.
    """

    class Protocol(GuardedProtocol):
        head_seconds = head_timeout_seconds
        unread_seconds = unread_timeout_seconds

    uvicorn.run(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection whose next head does not come, or not to its end, in time and in size."""

    head_seconds = 20.0
    unread_seconds = 600.0
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _arriving_bytes = 0
    _in_head = _head_begins = False
    _ahead_bytes = 0
    _held = False  # nothing more is read until the requests that wait have had their turn
    _turn: Any = None  # the request being answered; uvicorn's `cycle` is the one that arrived last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.close)
        if sys.platform == "linux":  # elsewhere the system's own limit holds
            peer = transport.get_extra_info("socket")
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.unread_seconds * 1000))

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        if self._turn is not None and not self._turn.response_complete:
            self._turn.disconnected = True
            self._turn.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arriving_bytes = len(data)
        try:
            super().data_received(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http(data[upgrade.args[0] :])
            return
        if self._in_head:
            self._guard(len(data))
        if self.pipeline:
            self._hold_back(len(data))

    def on_message_begin(self) -> None:
        self._in_head = self._head_begins = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        split, self._head_bytes = self._head_bytes > 0, 0
        self._in_head = False
        if self._head_timer is not None:
            self._unset_timer()
        if len(self.headers) > MAX_HEADERS or (
            (split or self._arriving_bytes > MAX_HEAD_BYTES) and self._head_is_too_large()
        ):
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held and not self.pipeline and not self.transport.is_closing():
            self._held, self._ahead_bytes = False, 0
            self.transport.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says about a head that is no HTTP; in our error shape."""
        self._refuse(head_too_large() if self._head_is_too_large() else no_http())

    def _should_upgrade(self) -> bool:
        return True  # asked where a client offers another protocol: `handle_websocket_upgrade` is called

    def handle_websocket_upgrade(self) -> None:
        """No other protocol is spoken here, so the offer is passed over; the parser has skipped the body for it."""
        error = sys.exc_info()[1]
        assert error is not None
        raise error

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._turn = cycle
        super()._start_asgi_task(cycle, app)

    def _guard(self, size: int) -> None:
        if self._head_begins:  # perhaps behind other requests: only what is known to be of this head counts
            self._head_begins = False
            size = max(1, self._size_of_headers())
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(head_too_large())
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _head_is_too_large(self) -> bool:
        return len(self.headers or ()) > MAX_HEADERS or self._size_of_headers() > MAX_HEAD_BYTES

    def _size_of_headers(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self.headers or ())

    def _stay_with_http(self, rest: bytes) -> None:
        """Reads the request once more, as if it offered no other protocol."""
        if self.scope["method"] == "CONNECT":
            self._refuse(no_http())
            return
        kept = [h for h in self.headers if h[0] not in (b"connection", b"upgrade", b"http2-settings")]
        lines = [b"%b: %b\r\n" % header for header in kept]
        first = b"%b %b HTTP/1.1\r\n" % (self.scope["method"].encode("ascii"), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([first, *lines, b"\r\n", rest]))

    def _hold_back(self, size: int) -> None:
        """Not by uvicorn's own pause: every look for a client that has left ends that one."""
        self._ahead_bytes += size
        if self._ahead_bytes > MAX_AHEAD_BYTES and not self._held and not self.transport.is_closing():
            self._held = True
            self.flow.resume_reading()
            self.transport.pause_reading()

    def _refuse(self, refusal: Refused) -> None:
        """Answers what never became a request, unless an earlier one would take this for its own answer."""
        if self.transport.is_closing():
            return
        if self._turn is None or self._turn.response_complete:
            self.transport.write(refusal.bare())
        self.transport.close()

    def _unset_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _HeadTooLarge(Exception):
    """Ends the parsing; what is answered, `send_400_response` decides."""
