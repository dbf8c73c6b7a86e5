"""What every HTTP service has in common: health, readiness, metrics, errors in words, and a clean stop.

`/healthz` 200 while the process lives; `/readyz` 200 when `ready` has no objection, else 503 with the objections;
`/metrics` in Prometheus' text format. Unusable -> 422, Unavailable -> 503 with Retry-After, a request of the wrong
shape or with text that is none -> 422; body {"detail": sentence}. A `Host` that is not ours -> 421 (`hosts.py`).
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.errors import BadConfig, Unavailable, Unusable
from shared.hosts import HostGuard
from shared.processes import obey_supervisor

log = logging.getLogger(__name__)
LATER = 75  # EX_TEMPFAIL


def create_app(service: str, *, ready: Callable[[], list[str]], lifespan: Any = None) -> FastAPI:
    """A FastAPI app with the common routes. ready: objections in words; an empty list means ready."""
    app = FastAPI(title=f"ratchet {service}", lifespan=lifespan)

    @app.get("/healthz", tags=["operations"])
    def healthz() -> dict[str, str]:
        return {"status": "ok", "service": service}

    @app.get("/readyz", tags=["operations"])
    def readyz() -> JSONResponse:
        objections = ready()
        body = {"status": "waiting" if objections else "ready", "objections": objections}
        return JSONResponse(body, status_code=503 if objections else 200)

    @app.get("/metrics", tags=["operations"])
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(Unusable)
    def unusable(_request: Request, error: Unusable) -> JSONResponse:
        return _answer(422, str(error))

    @app.exception_handler(RequestValidationError)
    def misshapen(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input that FastAPI would send back: it may be huge, and it may be private.
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:10]]
        return _answer(422, "; ".join(line[:300] for line in lines))

    @app.exception_handler(UnicodeEncodeError)
    def no_text(request: Request, error: UnicodeEncodeError) -> JSONResponse:
        log.warning("%s %s: %s", request.method, request.url.path, error)
        found = ascii(error.object[error.start : error.start + 1])
        return _answer(422, f"the text holds {found}, half of a surrogate pair, which is no character; send it whole")

    @app.exception_handler(Unavailable)
    def unavailable(_request: Request, error: Unavailable) -> JSONResponse:
        return _answer(503, str(error), {"Retry-After": "2"})

    return app


def _answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    # A sentence may quote what was sent, and what was sent may be no text.
    detail = sentence.encode("utf-8", "backslashreplace").decode("utf-8")
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)


def configure_logging(level: str) -> None:
    """One line a record; the supervisor puts the service's name in front."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
    # uvicorn.error is where uvicorn tells each step of its start and stop; its warnings and errors stay.
    for noisy in ("httpx", "httpcore", "apscheduler", "kafka", "alembic", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve(app: Any, host: str, port: int, allowed_hosts: str = "") -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests in flight (10 s at most)."""
    log.info("starts on http://%s:%d", host, port)
    uvicorn.run(
        HostGuard(app, host, allowed_hosts),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )


def crash(error: BaseException) -> None:
    """Ends this process so that its supervisor starts a new one: a background part of it is dead.

    SIGTERM first would run the clean stop, which waits for the part that is gone; so it exits at once, status 70.
    """
    log.critical("stopping the process: %s", error)
    logging.shutdown()
    os._exit(70)


def run_service(main: Callable[[], None]) -> None:
    """Runs a service's main; a bad configuration is a sentence and exit status 2, not a traceback.

    What it needs and is away now is a sentence too, and status 75: whoever started it may try again.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    obey_supervisor()
    try:
        main()
    except BadConfig as error:
        print(f"ratchet: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Unavailable as error:
        print(f"ratchet: {error}", file=sys.stderr)
        raise SystemExit(LATER) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
