"""The scheduler's composition root: the one place where real things are chosen.

Calls: annotation's `POST /v1/snapshots`.
Stop: SIGTERM ends the ticks and the children, whose jobs go back to the queue with no attempt counted.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from services.scheduler import routes
from services.scheduler.consumer import SERVICE, consumer
from services.scheduler.item_files import check_item_files
from services.scheduler.launcher import LocalLauncher
from services.scheduler.presets import known_presets
from services.scheduler.requests import Intake
from services.scheduler.runner import Runner
from services.scheduler.settings import SchedulerSettings
from services.scheduler.snapshots import take_training_snapshot
from services.scheduler.ticks import Ticker
from services.scheduler.workshop import Workshop
from shared.body_limit import BodyLimit
from shared.bus import open_bus
from shared.calls import Caller
from shared.db import objections_to, open_database
from shared.outbox import OutboxPublisher
from shared.schema import require
from shared.settings import SharedSettings
from shared.web import configure_logging, crash, create_app, serve

log = logging.getLogger(__name__)


def build_app(shared: SharedSettings, own: SchedulerSettings) -> FastAPI:
    """Everything wired, nothing started; the app's lifespan starts and stops the background parts."""
    deployment = shared.deployment()
    check_item_files(deployment)
    engine = open_database(shared.database, SERVICE)
    require(engine, Path(__file__).parent)
    bus = open_bus(shared.bus)
    annotation = Caller(shared.url_of("annotation"), timeout_seconds=120.0)  # a large snapshot takes its time
    publisher = OutboxPublisher(engine, bus, SERVICE)
    shop = Workshop(
        engine=engine,
        launcher=LocalLauncher(own.nice),
        settings=own,
        artifacts=shared.artifacts,
        job_folders=(shared.data_dir / "jobs").resolve(),
        committed=publisher.notify,
    )
    runner = Runner(shop, crash)
    intake = Intake(
        engine=engine,
        deployment=deployment,
        presets=known_presets(),
        training_snapshot=partial(take_training_snapshot, annotation),
        wake_runner=runner.wake,
    )
    ticker = Ticker(intake, own.tick_seconds, crash)
    events = consumer(engine, bus, on_crash=crash, after_commit=ticker.wake)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for part in (publisher, events, runner, ticker):
            part.start()
        log.info("the scheduler is ready: %s", ", ".join(sorted(deployment.workloads)))
        yield
        for part in (ticker, runner, events, publisher):
            part.stop()
        annotation.close()
        bus.close()
        engine.dispose()

    def objections() -> list[str]:
        parts = {"the runner": runner, "the consumer": events, "the outbox": publisher}
        dead = [f"{name} does not run" for name, part in parts.items() if not part.is_alive()]
        waiting = [f"events wait: {events.waiting}"] if events.waiting else []
        return [*dead, *waiting, *objections_to(engine)]

    app = create_app(SERVICE, ready=objections, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=own.max_body_bytes, setting="RATCHET_SCHEDULER_MAX_BODY_BYTES")
    app.include_router(routes.router(intake, ticker, ticker.wake, own.alert_token))
    return app


def main() -> None:
    shared, own = SharedSettings.load(), SchedulerSettings.load()
    configure_logging(shared.log_level)
    serve(build_app(shared, own), shared.host, shared.scheduler_port, shared.allowed_hosts)
