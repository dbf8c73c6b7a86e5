"""Annotation put together: the one place where real things are chosen.

Three threads beside the HTTP server: the consumer (bus -> tables), the desk's loop (nominated -> desk, verdicts back)
and the outbox (events -> bus). One that dies ends the process, so that the supervisor starts a whole one.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine

from services.annotation import membership, metrics
from services.annotation.argilla_routes import argilla_routes
from services.annotation.consumer import LISTENS_TO, handlers_of
from services.annotation.desk import Desk
from services.annotation.far_desk import far_desk, webhook_url
from services.annotation.filling import DeskLoop
from services.annotation.gold import Gold, read_gold
from services.annotation.local_desk import LocalDesk
from services.annotation.routes import desk_routes, lineage_routes, loop_routes, not_now, not_there, wrong_request
from services.annotation.settings import AnnotationSettings, DeskSettings
from services.annotation.verdicts import NotOnTheDesk, UnknownItem
from services.annotation.webhooks import Hook
from shared.body_limit import BodyLimit
from shared.bus import Bus, open_bus
from shared.consumer import ConsumerLoop
from shared.db import objections_to, open_database, transaction
from shared.events import utc_now
from shared.outbox import OutboxPublisher
from shared.schema import require
from shared.settings import SharedSettings
from shared.web import crash, create_app
from shared.workloads import Deployment

log = logging.getLogger(__name__)
SERVICE = "annotation"
PAGE = Path(__file__).parent / "desk_page"
# The page shows captured text: no script, style or image from anywhere else, and no other site may frame it.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """The threads, in the order they start; they stop in the reverse one."""

    outbox: OutboxPublisher
    desk: DeskLoop
    consumer: ConsumerLoop

    def start(self) -> None:
        for part in (self.outbox, self.desk, self.consumer):
            part.start()

    def stop(self) -> None:
        for part in (self.consumer, self.desk, self.outbox):
            part.stop()

    def objections(self) -> list[str]:
        dead = [part.name for part in (self.outbox, self.desk, self.consumer) if not part.is_alive()]
        waiting = [f"events wait: {self.consumer.waiting}"] if self.consumer.waiting else []
        return [*(f"{name} does not run" for name in dead), *waiting]


def build_app(shared: SharedSettings, settings: AnnotationSettings, desk: DeskSettings | None = None) -> FastAPI:
    """desk: None means the one at /desk. Raises BadConfig when ratchet.toml or a setting cannot be used, Unavailable
    when the database or the bus is away.
    """
    deployment = shared.deployment()
    known_gold = read_gold(deployment.workloads)  # a broken file is told now, and not when the far desk comes
    engine, bus = open_database(shared.database, SERVICE), open_bus(shared.bus)
    require(engine, Path(__file__).parent)
    _bring_index_up_to_date(engine, deployment)
    metrics.start_at_zero(deployment.workloads)
    local = LocalDesk(engine, deployment.workloads, service=SERVICE, now=utc_now, hold_seconds=settings.hold_seconds)
    here = shared.url_of(SERVICE)
    far = far_desk(desk, deployment.workloads, here) if desk is not None and desk.url else None
    gold = known_gold if far else {}
    parts = _parts(engine, bus, deployment, far or local, settings, gold)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        parts.start()
        yield
        parts.stop()
        bus.close()
        engine.dispose()

    app = create_app(SERVICE, ready=lambda: [*parts.objections(), *objections_to(engine)], lifespan=lifespan)
    app.add_exception_handler(RequestValidationError, wrong_request)
    app.add_exception_handler(UnknownItem, not_there)
    app.add_exception_handler(NotOnTheDesk, not_now)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, setting="RATCHET_ANNOTATION_MAX_BODY_BYTES")

    def verdict_kept() -> None:
        parts.outbox.notify()
        parts.desk.notify()  # the next near-duplicate may go to the desk now

    if far is None or desk is None:
        app.include_router(desk_routes(local, deployment.workloads, verdict_kept))
        _serve_page(app)
    else:
        hook = Hook(far, webhook_url(here) if desk.webhook else None)
        app.include_router(argilla_routes(far, hook, parts.desk.look, desk.address, engine, list(deployment.workloads)))
    app.include_router(lineage_routes(engine))
    app.include_router(loop_routes(engine, deployment.workloads, utc_now, shared.artifacts / "snapshots"))
    return app


def _parts(
    engine: Engine,
    bus: Bus,
    deployment: Deployment,
    shown_at: Desk,
    settings: AnnotationSettings,
    gold: Mapping[str, Sequence[Gold]],
) -> Parts:
    outbox = OutboxPublisher(engine, bus, SERVICE)
    desk = DeskLoop(
        engine=engine,
        desk=shown_at,
        workloads=deployment.workloads,
        now=utc_now,
        service=SERVICE,
        interval_seconds=settings.desk_interval_seconds,
        on_crash=crash,
        after_commit=outbox.notify,
        gold=gold,
    )

    def batch_kept() -> None:
        desk.notify()
        outbox.notify()  # dead letters

    consumer = ConsumerLoop(
        service=SERVICE,
        engine=engine,
        bus=bus,
        handlers=handlers_of(deployment.workloads, utc_now),
        listens_to=LISTENS_TO,
        on_crash=crash,
        after_commit=batch_kept,
    )
    return Parts(outbox, desk, consumer)


def _serve_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("desk/")

    app.mount("/desk", _Page(directory=PAGE, html=True), name="desk")


class _Page(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


def _bring_index_up_to_date(engine: Engine, deployment: Deployment) -> None:
    """After `similarity` was changed the near-duplicate index gets the shape it needs; short transactions."""
    for name, workload in deployment.workloads.items():
        total = 0
        while done := _rebuild(engine, name, deployment):
            total += done
        if total:
            log.info("workload %s: %d prompts indexed for similarity %g", name, total, workload.grouping.similarity)


def _rebuild(engine: Engine, name: str, deployment: Deployment) -> int:
    with transaction(engine) as session:
        return membership.rebuild_bands(session, name, deployment.workloads[name])
