"""Promotion's composition root: real database, bus, services and model servers chosen here, and nowhere else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.promotion import metrics
from services.promotion.background import Repeating
from services.promotion.candidacy import Candidacy
from services.promotion.consumer import LISTENS_TO, handlers
from services.promotion.fleet import Fleet
from services.promotion.reconcile import Reconciler
from services.promotion.report import render_report
from services.promotion.routes import create_router
from services.promotion.serving import SERVICE, Stewardship, UnknownVersion
from services.promotion.settings import PromotionSettings
from shared.bus import open_bus
from shared.calls import Caller
from shared.consumer import ConsumerLoop
from shared.db import objections_to, open_database
from shared.outbox import OutboxPublisher
from shared.schema import require
from shared.settings import SharedSettings
from shared.web import configure_logging, crash, create_app, serve


def build(shared: SharedSettings, own: PromotionSettings, on_crash: Callable[[BaseException], None] = crash) -> FastAPI:
    """The app; its threads run while its lifespan does. Raises BadConfig."""
    fleet = Fleet(shared.deployment(), shared.upstreams)
    metrics.start_at_zero(fleet.deployment.workloads)
    engine = open_database(shared.database, SERVICE)
    require(engine, Path(__file__).parent)
    bus = open_bus(shared.bus)
    publisher = OutboxPublisher(engine, bus, SERVICE, on_crash=on_crash)
    reconciler = Reconciler(engine, fleet, own)
    stewardship = Stewardship(engine, fleet, reconciler, committed=publisher.notify)
    callers = Caller(shared.url_of("annotation")), Caller(shared.url_of("scheduler"))
    candidacy = Candidacy(
        engine=engine,
        fleet=fleet,
        artifacts=shared.artifacts,
        annotation=callers[0],
        scheduler=callers[1],
        stewardship=stewardship,
        render=render_report,
        load_attempts=own.load_attempts,
    )
    worker = Repeating("promotion-candidacy", candidacy.advance_all, own.work_seconds, on_crash)
    looking = Repeating("promotion-reconcile", reconciler.look, own.reconcile_seconds, on_crash)
    consumer = ConsumerLoop(
        service=SERVICE,
        engine=engine,
        bus=bus,
        handlers=handlers(fleet),
        listens_to=LISTENS_TO,
        on_crash=on_crash,
        after_commit=worker.wake,
    )
    threads = (publisher, looking, worker, consumer)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stewardship.start()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for part in (consumer, worker, looking, publisher):
                part.stop()
            reconciler.close()
            for caller in callers:
                caller.close()
            bus.close()
            engine.dispose()

    def objections() -> list[str]:
        dead = [f"the thread {thread.name} is not running" for thread in threads if not thread.is_alive()]
        waiting = [f"events wait: {consumer.waiting}"] if consumer.waiting else []
        return [*dead, *waiting, *objections_to(engine)]

    app = create_app(SERVICE, ready=objections, lifespan=lifespan)
    app.include_router(create_router(engine, stewardship, reconciler))

    @app.exception_handler(UnknownVersion)
    def unknown(_request: Request, error: UnknownVersion) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=404)

    return app


def main() -> None:
    shared = SharedSettings.load()
    configure_logging(shared.log_level)
    serve(build(shared, PromotionSettings.load()), shared.host, shared.promotion_port, shared.allowed_hosts)
