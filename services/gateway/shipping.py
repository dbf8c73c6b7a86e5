"""Ships the spool to the bus without hurting requests: a thread for the embedded bus, a process of its own for Kafka.

A Kafka client's sender thread spins while a broker accepts and answers nothing (7.4 s of CPU in 8 s); beside the event
loop it would take the interpreter from every request. `python -m services.gateway.shipping` is that process: it prints
how many records each batch shipped, a number a line, ends with its parent, and is started anew when it dies.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from services.gateway import metrics
from shared.bus import open_bus
from shared.processes import die_with_parent
from shared.settings import SharedSettings
from shared.shipper import Shipper
from shared.web import configure_logging, crash

log = logging.getLogger(__name__)
RESTART_SECONDS = 1.0
STOP_SECONDS = 10.0
_PARENT = "RATCHET_GATEWAY_PARENT_PID"


def spool_path(shared: SharedSettings) -> Path:
    return shared.data_dir / "gateway" / "spool.db"


async def ship(shared: SharedSettings) -> None:
    """Ships until cancelled; what is not shipped stays in the spool."""
    if shared.bus.startswith("sqlite:"):
        await _ship_in_thread(shared)
    else:
        await _ship_in_process(shared)


async def _ship_in_thread(shared: SharedSettings) -> None:
    shipper = _shipper(shared, metrics.SHIPPED.inc)
    shipper.start()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(shipper.stop)


async def _ship_in_process(shared: SharedSettings) -> None:
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.gateway.shipping",
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, _PARENT: str(os.getpid())},
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                metrics.SHIPPED.inc(int(line))
            log.error("the shipper's process ended with %s; starting another", await process.wait())
        finally:
            await _stop(process)
        await asyncio.sleep(RESTART_SECONDS)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _shipper(shared: SharedSettings, on_shipped: Callable[[int], None]) -> Shipper:
    return Shipper(spool_path(shared), lambda: open_bus(shared.bus), on_crash=crash, on_shipped=on_shipped)


def main() -> None:
    parent = os.environ.get(_PARENT, "")
    if parent:
        die_with_parent(int(parent))
    shared = SharedSettings.load()
    configure_logging(shared.log_level)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to handle
    shipper = _shipper(shared, lambda records: print(records, flush=True))
    shipper.start()
    stopping.wait()
    shipper.stop()


if __name__ == "__main__":
    main()
