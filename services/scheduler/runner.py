"""The runner: claims jobs while there is room and makes each attempt in a thread of its own.

Fails: while the database is away nothing is claimed; an error that nobody foresaw stops the process (on_crash).
"""

import logging
import os
import socket
import threading
from collections.abc import Callable

from services.scheduler import jobs, repository
from services.scheduler.consumer import SERVICE
from services.scheduler.execution import execute
from services.scheduler.metrics import QUEUED_JOBS, RUNNING_JOBS
from services.scheduler.tables import QUEUED
from services.scheduler.workshop import Workshop
from shared.db import reading, transaction
from shared.errors import Unavailable
from shared.ids import uuid7
from shared.outbox import Outbox

log = logging.getLogger(__name__)


class Runner(threading.Thread):
    def __init__(self, shop: Workshop, on_crash: Callable[[BaseException], None]) -> None:
        super().__init__(name=f"{SERVICE}-runner", daemon=True)
        self._shop, self._on_crash = shop, on_crash
        self._name = f"{socket.gethostname()}/{os.getpid()}/{uuid7()[-8:]}"
        self._woken = threading.Event()
        self._attempts: list[threading.Thread] = []

    def run(self) -> None:
        try:
            while not self._shop.stopping.is_set():
                self._fill()
                self._woken.wait(self._shop.settings.poll_seconds)
                self._woken.clear()
        except BaseException as error:
            log.exception("the runner stops")
            self._on_crash(error)

    def wake(self) -> None:
        """There may be work, or room for it."""
        self._woken.set()

    def stop(self) -> None:
        """Ends the children and gives their jobs back to the queue; returns when both are done."""
        self._shop.stopping.set()
        self._woken.set()
        for thread in (self, *self._attempts):
            thread.join(timeout=self._shop.settings.stop_grace_seconds + 10)

    def _fill(self) -> None:
        try:
            while (claim := self._claim()) is not None:
                thread = threading.Thread(target=self._make, args=(claim,), name=f"job-{claim.job_id}", daemon=True)
                self._attempts.append(thread)
                thread.start()
                RUNNING_JOBS.set(len(self._attempts))
        except Unavailable as error:
            log.warning("no job is claimed: %s", error)

    def _claim(self) -> jobs.Claim | None:
        settings = self._shop.settings
        with reading(self._shop.engine) as session:  # idle polls take no write lock
            QUEUED_JOBS.set(repository.counts(session)[QUEUED])
            if len(self._attempts) >= settings.max_running or self._shop.stopping.is_set():
                return None
            if not jobs.anything_to_claim(session, self._shop.clock()):
                return None
        with transaction(self._shop.engine) as session:
            claim = jobs.claim(
                session,
                Outbox(session, SERVICE),
                worker=self._name,
                now=self._shop.clock(),
                lease_seconds=settings.lease_seconds,
                max_running=settings.max_running,
                max_attempts=settings.max_attempts,
            )
        if claim is not None:
            log.info("job %s begins, attempt %d", claim.job_id, claim.attempt)
            self._shop.committed()
        return claim

    def _make(self, claim: jobs.Claim) -> None:
        try:
            execute(self._shop, claim)
        except BaseException as error:
            log.exception("job %s ends in an error of this program", claim.job_id)
            self._on_crash(error)
        finally:
            self._attempts.remove(threading.current_thread())
            RUNNING_JOBS.set(len(self._attempts))
            self._woken.set()
