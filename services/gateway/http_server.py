"""uvicorn for a public door: httptools and uvloop, no access log, and limits on how long and large a head may be.

uvicorn alone waits for ever for a head that trickles in, and keeps whatever arrives of it.
"""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 10


def serve(app: Any, host: str, port: int, head_timeout_seconds: float) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests in flight (10 s at most)."""

    class Protocol(GuardedProtocol):
        head_seconds = head_timeout_seconds

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
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._guard(len(data))

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._unset_timer()
        super().on_headers_complete()

    def _guard(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _unset_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
