"""Asks one of a workload's replicas: the least busy first, another one when that one cannot have begun.

Tried again elsewhere only where nothing can have been generated: no connection, a kept connection that the server had
already closed, or 404 because the replica has not loaded the version (it restarted, or is being reconciled). A version
that nobody has loaded is asked for again for a moment, then refused (503): never another version in its place.
"""

import asyncio
import time
from collections.abc import Sequence

from services.gateway import metrics
from services.gateway.asgi import ClientLeft
from services.gateway.refusals import no_replica, not_loaded, upstream_broke
from services.gateway.settings import GatewaySettings
from services.gateway.upstream import ClosedEarly, ConnectFailed, Connection, Upstream
from services.gateway.watch import Exchange

AVOID_SECONDS = 1.0
ASK_AGAIN_SECONDS = 0.2
STALE_SECONDS = 0.1  # a kept connection that closes sooner than this after a request had been closed before it


class Replicas:
    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upstreams: dict[str, Upstream] = {}
        self._turn = 0

    async def ask(
        self, model: str, urls: Sequence[str], body: bytes, headers: bytes, exchange: Exchange
    ) -> tuple[Upstream, Connection]:
        """The replica that answers, and the connection with the answer's head. Refused (503) when there is none."""
        patient_until = time.monotonic() + self._settings.missing_version_patience_seconds
        while True:
            loaded_nowhere, why = False, "none is configured"
            for upstream in self._in_order(urls):
                try:
                    connection = await self._ask_one(upstream, body, headers, exchange)
                except ConnectFailed as error:
                    why = str(error)
                    self._avoid(upstream, "connect")
                    continue
                if connection.status != 404:
                    return upstream, connection
                loaded_nowhere = True
                self._avoid(upstream, "not_loaded")
                await self._give_up(upstream, connection, exchange)
            if not loaded_nowhere:
                raise no_replica(model, why)
            if time.monotonic() > patient_until:
                raise not_loaded(model)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            if exchange.client_left:
                raise ClientLeft

    def upstream(self, url: str) -> Upstream:
        found = self._upstreams.get(url)
        if found is None:
            found = Upstream(url, self._settings.upstream_api_key, self._settings.connect_timeout_seconds)
            self._upstreams[url] = found
        return found

    def close(self) -> None:
        for upstream in self._upstreams.values():
            upstream.close_idle()

    def _in_order(self, urls: Sequence[str]) -> list[Upstream]:
        if len(urls) == 1:
            return [self.upstream(urls[0])]
        self._turn += 1
        now, turned = time.monotonic(), [urls[(self._turn + i) % len(urls)] for i in range(len(urls))]
        return sorted(map(self.upstream, turned), key=lambda u: (u.avoid_until > now, u.in_flight))

    async def _ask_one(self, upstream: Upstream, body: bytes, headers: bytes, exchange: Exchange) -> Connection:
        """The caller owes `upstream.in_flight` one less, unless this raises."""
        request = upstream.chat_request(body, headers)
        upstream.in_flight += 1
        try:
            kept = upstream.take_idle()
            if kept is not None:
                asked_at = time.monotonic()
                try:
                    return await self._head(kept, request, exchange)
                except ClosedEarly:
                    if time.monotonic() - asked_at > STALE_SECONDS:
                        raise
            return await self._head(await upstream.connect(), request, exchange)
        except BaseException as error:
            upstream.in_flight -= 1
            if isinstance(error, ClosedEarly):
                self._avoid(upstream, "closed")
                raise upstream_broke("the connection closed before its first byte") from error
            raise

    @staticmethod
    async def _head(connection: Connection, request: bytes, exchange: Exchange) -> Connection:
        try:
            exchange.asks(connection)
            await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _give_up(self, upstream: Upstream, connection: Connection, exchange: Exchange) -> None:
        upstream.in_flight -= 1
        try:
            await connection.read_whole(self._settings.max_answer_bytes)
        finally:
            exchange.let_go()

    @staticmethod
    def _avoid(upstream: Upstream, why: str) -> None:
        upstream.avoid_until = time.monotonic() + AVOID_SECONDS
        metrics.UPSTREAM_ERRORS.labels(why).inc()
