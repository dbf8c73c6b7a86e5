"""The shipper: drains a spool into the bus, in order, deleting what the bus has acknowledged.

Twice: a crash between acknowledgement and deletion publishes a batch again; consumers deduplicate on the event id.
Fails: while the bus or the disk is away the records wait, tried again with growing pauses; a record that the bus can
never take goes to `ratchet.dead` with the reason, and the rest goes on.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from shared.bus import Bus
from shared.dead_letters import publish_or_bury
from shared.errors import Unavailable
from shared.sqlite_log import SpoolDrain

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class Shipper(threading.Thread):
    """Runs until `stop`. A bug ends it: then `failed` holds the exception and `on_crash` is called with it."""

    def __init__(
        self,
        spool: Path,
        open_bus: Callable[[], Bus],
        *,
        on_crash: Callable[[BaseException], None],
        on_shipped: Callable[[int], None] = lambda records: None,
        batch_records: int = 500,
        first_pause_seconds: float = 0.2,
    ) -> None:
        """open_bus: called in this thread, since a broker that is away may keep it waiting; the shipper closes it."""
        super().__init__(name="shipper", daemon=True)
        self._spool, self._open_bus = spool, open_bus
        self._on_crash, self._on_shipped = on_crash, on_shipped
        self._batch_records, self._first_pause_seconds = batch_records, first_pause_seconds
        self._stopping = threading.Event()
        self.waiting: str | None = None  # why nothing is shipped now
        self.failed: BaseException | None = None

    def run(self) -> None:
        pause = self._first_pause_seconds
        try:
            while not self._stopping.is_set():
                try:
                    self._ship()
                except Unavailable as error:
                    pause = self._first_pause_seconds if self.waiting is None else min(pause * 2, LONGEST_PAUSE_SECONDS)
                    self.waiting = str(error)
                    log.warning("shipping waits %.1f s: %s", pause, error)
                    self._stopping.wait(pause)
        except BaseException as error:
            self.failed = error
            log.exception("the shipper stops")
            self._on_crash(error)

    def stop(self) -> None:
        """What is not shipped stays in the spool for the next start."""
        self._stopping.set()
        self.join(timeout=15)

    def _ship(self) -> None:
        drain = SpoolDrain.open(self._spool)
        try:
            bus = self._open_bus()
            try:
                bus.ensure_topics()  # again after every failure: a topic may have been deleted meanwhile
                while not self._stopping.is_set():
                    self._ship_batch(drain, bus)
            finally:
                bus.close()
        finally:
            drain.close()

    def _ship_batch(self, drain: SpoolDrain, bus: Bus) -> None:
        batch = drain.read_batch(self._batch_records)
        if not batch:
            drain.wait(IDLE_SECONDS)
            return
        publish_or_bury(bus, "shipper", [record for _, record in batch])
        drain.delete_through(batch[-1][0])
        self.waiting = None
        self._on_shipped(len(batch))
