"""Watches the requests in flight: clients that leave and model servers that are too slow.

One look at all of them ten times a second, instead of a task and timers for each: a request that is over between two
looks costs nothing. What is found ends the request's connection, so the model server stops working for nobody.
"""

import asyncio
import time

from services.gateway.asgi import ClientLeft, Receive, peek
from services.gateway.refusals import upstream_late
from services.gateway.settings import GatewaySettings
from services.gateway.upstream import Connection

LOOK_SECONDS = 0.1


class Exchange:
    """One request in flight, its body already read."""

    __slots__ = ("asked_at", "began", "client_left", "connection", "receive", "task")

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.began = time.monotonic()
        self.task = asyncio.current_task()
        self.connection: Connection | None = None
        self.asked_at = 0.0
        self.client_left = False

    def asks(self, connection: Connection) -> None:
        if self.client_left:
            raise ClientLeft
        self.connection = connection
        self.asked_at = time.monotonic()

    def let_go(self, *, at_last_event: bool = False) -> None:
        """Gives the connection back. at_last_event: a stream's end may still be on its way."""
        connection, self.connection = self.connection, None
        if connection is not None:
            if at_last_event:
                connection.drain()
            else:
                connection.release()


def client_left(receive: Receive) -> bool:
    """Whether the client has gone by now. Only for requests whose body has been read: it would take a part of it."""
    message = peek(receive)
    return message is not None and bool(message["type"] == "http.disconnect")


class Watch:
    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self.live: set[Exchange] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for exchange in tuple(self.live):
                self._look(exchange, now)

    def _look(self, exchange: Exchange, now: float) -> None:
        connection = exchange.connection
        if not exchange.client_left and client_left(exchange.receive):
            exchange.client_left = True
            if connection is not None:
                connection.abort(ClientLeft())
        elif connection is not None and connection.waiting:
            self._look_at_time(exchange, connection, now)
        elif now - exchange.began > self._settings.total_timeout_seconds + LOOK_SECONDS and exchange.task is not None:
            exchange.client_left = True
            exchange.task.cancel()  # the client reads nothing: there is nobody to tell

    def _look_at_time(self, exchange: Exchange, connection: Connection, now: float) -> None:
        limits = self._settings
        if now - exchange.began > limits.total_timeout_seconds:
            connection.abort(upstream_late(f"no complete answer within {limits.total_timeout_seconds:g} s"))
        elif not connection.heard_at:
            if now - exchange.asked_at > limits.first_byte_timeout_seconds:
                connection.abort(upstream_late(f"no byte within {limits.first_byte_timeout_seconds:g} s"))
        elif now - connection.heard_at > limits.idle_timeout_seconds:
            connection.abort(upstream_late(f"silent for {limits.idle_timeout_seconds:g} s within its answer"))
