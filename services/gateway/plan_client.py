"""Follows promotion's serving plan and keeps the last good one on disk, so the gateway starts without promotion.

Reads:  GET /v1/plan with the last ETag, every poll    Emits: a new routing table, to `adopt`
Twice:  the plan in use again changes nothing.
Fails:  promotion away, an invalid plan or an older one leaves the plan in use as it is, with a warning when the reason
        changes (a note only while promotion may just be starting). After promotion's database began anew, its plans
        are older for ever: delete the file to take them.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from services.gateway import metrics
from services.gateway.routing import Plan, RoutingTable, build_table, read_plan
from services.gateway.upstream import ClosedEarly, ConnectFailed, Upstream
from shared.errors import RatchetError, Unavailable, Unusable
from shared.workloads import Deployment

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 5.0
START_SECONDS = 30.0  # services of one deployment start together: one that is not there yet is no warning
MAX_PLAN_BYTES = 4 << 20


class PlanClient:
    def __init__(
        self,
        deployment: Deployment,
        upstreams: Callable[[str], list[str]],
        path: Path,
        promotion: Upstream,
        poll_seconds: float,
    ) -> None:
        self._deployment, self._upstreams, self._path = deployment, upstreams, path
        self._promotion, self._poll_seconds = promotion, poll_seconds
        self._plan = self._read_kept()
        self._etag = b""
        self._warned = (logging.NOTSET, "")
        self._patient_until = time.monotonic() + START_SECONDS

    def table(self) -> RoutingTable:
        table = build_table(self._deployment, self._plan, self._upstreams)
        metrics.PLAN_VERSION.set(table.plan_version)
        return table

    async def follow(self, adopt: Callable[[RoutingTable], None]) -> None:
        """Polls until cancelled."""
        while True:
            try:
                if await self.poll():
                    adopt(self.table())
                self._warned = (logging.NOTSET, "")
            except RatchetError as error:
                self._warn(error)
            await asyncio.sleep(self._poll_seconds)

    async def poll(self) -> bool:
        """Whether there is a newer plan, now in use and on disk. Unavailable or Unusable, and the old one stays."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._ask()
        except (TimeoutError, ConnectFailed, ClosedEarly, RatchetError) as error:
            raise Unavailable(f"promotion cannot be asked for the plan: {error or type(error).__name__}") from error
        if answer is None:
            return False
        body, etag = answer
        plan = read_plan(body)
        current = self._plan.plan_version if self._plan else 0
        if plan.plan_version < current:
            raise Unusable(
                f"promotion offers plan {plan.plan_version}, older than {current} in use; it is ignored. "
                f"If promotion began anew, stop the gateway and delete {self._path}"
            )
        changed = plan != self._plan
        if changed:
            await asyncio.to_thread(self._keep, body)
            self._plan = plan
            log.info("serving by plan %d", plan.plan_version)
        self._etag = etag
        return changed

    async def _ask(self) -> tuple[bytes, bytes] | None:
        """The plan and its ETag; None when it is the one known."""
        known = b"if-none-match: " + self._etag + b"\r\n" if self._etag else b""
        connection = self._promotion.take_idle() or await self._promotion.connect()
        try:
            await connection.ask(self._promotion.get_request("/v1/plan", known))
            body = await connection.read_whole(MAX_PLAN_BYTES)
            status, headers = connection.status, connection.headers
        except BaseException:
            connection.close()
            raise
        connection.release()
        if status == 304:
            return None
        if status != 200:
            raise Unavailable(f"it answered {status}")
        return body, next((value for name, value in headers if name == b"etag"), b"")

    def _keep(self, body: bytes) -> None:
        """Whole or not at all. A disk that fails costs the next start's memory, not this plan."""
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.warning("the serving plan could not be kept in %s: %s", self._path, error)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _read_kept(self) -> Plan | None:
        try:
            return read_plan(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, Unusable) as error:
            log.warning("the kept plan %s cannot be used, starting without it: %s", self._path, error)
            return None

    def _warn(self, error: RatchetError) -> None:
        metrics.PLAN_ERRORS.labels("invalid" if isinstance(error, Unusable) else "unreachable").inc()
        is_starting = isinstance(error, Unavailable) and time.monotonic() < self._patient_until
        level = logging.INFO if is_starting else logging.WARNING
        if (level, str(error)) != self._warned:
            self._warned = (level, str(error))
            log.log(level, "the serving plan stays as it is: %s", error)
