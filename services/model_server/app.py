"""The model server's composition root: which base, which device, how much it may hold.

Everything is loaded before the port opens, so whoever can connect can be answered.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from services.model_server import capacity, checkpoint
from services.model_server.adapters import Adapters
from services.model_server.batch import Batch
from services.model_server.cache import SlotCache
from services.model_server.engine import Engine, News
from services.model_server.envelope import Envelope
from services.model_server.lora import LoraSwitch
from services.model_server.refusals import Refusal
from services.model_server.routes import Gone, refuse, router
from services.model_server.serving import Serving
from services.model_server.settings import ModelServerSettings
from shared.web import crash, create_app

log = logging.getLogger(__name__)
FAREWELL_SECONDS = 0.5  # for callers to hear that the engine died, before the process goes


def build(name: str, path: str, settings: ModelServerSettings) -> Serving:
    """name: what requests call the base. path: a folder or a hub name. Not started yet."""
    started = time.perf_counter()
    base = checkpoint.load(name, path, settings)
    switch = LoraSwitch(base.model, base.model.get_output_embeddings())
    budget_bytes = checkpoint.cache_budget_bytes(settings, base.model.device)
    room = capacity.measure(base, switch, settings, budget_bytes)
    cache = SlotCache(base.layers, base.model.device, max_slots=settings.max_batch, max_tokens=room.cache_tokens)
    engine = Engine(
        Batch(base.model, switch, cache),
        end_tokens=base.end_tokens,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        prefill_tokens=settings.prefill_tokens,
        cache_tokens=room.cache_tokens,
    )
    adapters = Adapters(name, switch.layers, max_adapters=settings.max_adapters, max_rank=settings.max_lora_rank)
    log.info(
        "serving %s from %s: %.1f M parameters, %s on %s, %d tokens a request, %d in the cache, ready in %.1f s",
        name, path, base.model.num_parameters() / 1e6, base.model.dtype, base.model.device, room.max_model_len,
        room.cache_tokens, time.perf_counter() - started,
    )  # fmt: skip
    return Serving(base, adapters, engine, room, _version(), settings.max_body_bytes)


def http(serving: Serving) -> ASGIApp:
    app = create_app("model_server", ready=lambda: _objections(serving), lifespan=_lifespan(serving))
    app.include_router(router(serving))
    for error in (Refusal, Gone, ClientDisconnect, Exception):
        app.add_exception_handler(error, refuse)
    return Envelope(app)


def _lifespan(serving: Serving) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def deliver(news: News) -> None:
            for sequence, what in news:
                sequence.announce(sequence, what)

        def announce(news: News) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(deliver, news)

        def on_death(error: BaseException) -> None:
            loop.call_soon_threadsafe(loop.call_later, FAREWELL_SECONDS, crash, error)

        serving.engine.start(announce, on_death)
        gc.collect()
        gc.freeze()  # the model's thousands of objects are not searched for garbage again
        yield
        gc.unfreeze()  # or native libraries report leaks at exit
        await asyncio.to_thread(serving.engine.close)

    return lifespan


def _objections(serving: Serving) -> list[str]:
    return [f"the engine died: {serving.engine.dead}"] if serving.engine.dead else []


def _version() -> str:
    try:
        return version("ratchet")
    except PackageNotFoundError:
        return "0"
