"""Keeps a job's lease while an attempt is made, whatever else the attempt is doing.

Fails: when the job is another worker's, or the lease could not be renewed until shortly before its end, `lost` says so;
the attempt then ends its child before another worker starts a second one.
"""

import logging
import threading
import time
from types import TracebackType
from typing import Any, Self

from services.scheduler import jobs
from services.scheduler.reading import last_line_of_json
from services.scheduler.workshop import Workshop
from shared.db import transaction
from shared.errors import Unavailable

log = logging.getLogger(__name__)


class Heartbeat(threading.Thread):
    """Beats from entering to leaving the `with` block, and brings the child's progress along."""

    def __init__(self, shop: Workshop, claim: jobs.Claim) -> None:
        super().__init__(name=f"heartbeat-{claim.job_id}", daemon=True)
        self._shop, self._claim = shop, claim
        self._ended, self._woken = threading.Event(), threading.Event()
        self._child: str | None = None
        self.lost: jobs.LeaseLost | None = None

    def tells(self, child_ref: str) -> None:
        """Writes down at once which child now works for the job."""
        self._child = child_ref
        self._woken.set()

    def run(self) -> None:
        renewed_at = time.monotonic()
        while not self._ended.is_set() and self.lost is None:
            try:
                asked_at = time.monotonic()
                self._beat()
                renewed_at = asked_at
            except jobs.LeaseLost as error:
                self.lost = error
            except Unavailable as error:
                self.lost = self._given_up(time.monotonic() - renewed_at, error)
            self._woken.wait(self._shop.settings.heartbeat_seconds)
            self._woken.clear()

    def _beat(self) -> None:
        facts: dict[str, Any] = {}
        if self._child is not None:
            facts["child"] = self._child
        if (progress := last_line_of_json(self._shop.metrics_of(self._claim))) is not None:
            facts["progress"] = progress
        lease_seconds = self._shop.settings.lease_seconds
        with transaction(self._shop.engine) as session:
            jobs.renew(session, self._claim, now=self._shop.clock(), lease_seconds=lease_seconds, **facts)

    def _given_up(self, silent_seconds: float, error: Unavailable) -> jobs.LeaseLost | None:
        log.warning("the lease of job %s is not renewed: %s", self._claim.job_id, error)
        settings = self._shop.settings
        if silent_seconds < settings.lease_seconds - 2 * settings.heartbeat_seconds:
            return None
        return jobs.LeaseLost(f"job {self._claim.job_id} is given up: its lease cannot be renewed, {error}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._woken.set()
        self.join()
