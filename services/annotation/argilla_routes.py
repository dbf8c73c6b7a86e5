"""HTTP of annotation where Argilla is the desk: its webhooks, how it stands, and the way to its page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import Engine

from services.annotation.desk_figures import desk_figures
from services.annotation.webhooks import Forged, Hook
from shared.db import reading

if TYPE_CHECKING:
    from services.annotation.argilla_desk import ArgillaDesk


def argilla_routes(
    desk: "ArgillaDesk", hook: Hook, look: Callable[[], None], address: str, engine: Engine, workloads: Sequence[str]
) -> APIRouter:
    """look: pull the desk's verdicts now."""
    router = APIRouter()

    @router.post("/v1/webhooks/argilla", tags=["desk"], status_code=202)
    async def webhook(request: Request) -> JSONResponse:
        body = await request.body()
        try:
            news = await run_in_threadpool(hook.is_news, body, request.headers)
        except Forged as error:
            return JSONResponse({"detail": str(error)}, status_code=401)
        if news:
            look()
        return JSONResponse({"looking": news}, status_code=202)

    @router.get("/v1/desk/status", tags=["desk"])
    def status() -> dict[str, Any]:
        with reading(engine) as session:
            known = {name: asdict(desk_figures(session, name)) for name in workloads}
        return {"desk": "argilla", "url": address, "datasets": desk.status(), "workloads": known}

    @router.get("/", include_in_schema=False)
    @router.get("/desk", include_in_schema=False)
    @router.get("/desk/", include_in_schema=False)
    def page() -> RedirectResponse:
        return RedirectResponse(address)

    return router
