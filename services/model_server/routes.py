"""The model server's HTTP routes: OpenAI's generation calls and vLLM's adapter calls.

Twice: a generation is the caller's business; a load of a name that is held is refused and changes nothing.
Fails: Refusal, with vLLM's statuses and bodies. A caller who hangs up frees its place in the batch at the next step.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from services.model_server import answers, streaming
from services.model_server.refusals import Refusal, internal, too_large
from services.model_server.serving import Serving
from services.model_server.wire import ChatRequest, CompletionRequest, Generation, LoadRequest, UnloadRequest, parse

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
DRAINED_BYTES = 64 * 2**20  # of a body that is too large: read and dropped, so that the caller hears why


class Gone(Exception):
    """The caller hung up; nobody reads the answer."""


def router(serving: Serving) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _generate(serving, request, await _read(request, ChatRequest, serving.max_body_bytes))

    @routes.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _generate(serving, request, await _read(request, CompletionRequest, serving.max_body_bytes))

    @routes.post("/v1/load_lora_adapter")
    async def load_lora_adapter(request: Request) -> Response:
        asked = await _read(request, LoadRequest, serving.max_body_bytes)
        load = serving.adapters.load
        await asyncio.to_thread(load, asked.lora_name, asked.lora_path, in_place=asked.load_inplace)
        return Response(f"Success: LoRA adapter '{asked.lora_name}' added successfully.")

    @routes.post("/v1/unload_lora_adapter")
    async def unload_lora_adapter(request: Request) -> Response:
        asked = await _read(request, UnloadRequest, serving.max_body_bytes)
        await asyncio.to_thread(serving.adapters.unload, asked.lora_name)
        return Response(f"Success: LoRA adapter '{asked.lora_name}' removed successfully.")

    @routes.get("/v1/models")
    def models() -> JSONResponse:
        return JSONResponse(answers.model_list(serving.described(), serving.adapters.all()))

    @routes.get("/v1/models/{name:path}")
    def model(name: str) -> JSONResponse:
        return JSONResponse(answers.model(serving.described(), serving.held(name)))

    @routes.get("/health")
    def health() -> Response:
        return Response(status_code=503 if serving.engine.dead else 200)

    @routes.get("/version")
    def version() -> JSONResponse:
        return JSONResponse({"version": serving.version})

    return routes


async def refuse(_request: Request, error: Exception) -> Response:
    """The answer to whatever a route raised."""
    if isinstance(error, Gone | ClientDisconnect):
        return Response(status_code=499)
    refusal = error if isinstance(error, Refusal) else internal(f"{type(error).__name__}: {error}")
    return refusal.response()


async def _generate(serving: Serving, request: Request, asked: Generation) -> Response:
    job = await serving.begin(asked, request.state.answer_id)
    try:
        if not asked.stream:
            await _unless_gone(request, streaming.finish(job))
            return JSONResponse(job.answer.whole(job.sequences, job.prompt_tokens))
        first = await _unless_gone(request, streaming.first_news(job))  # a refusal still has its own status here
    except BaseException:
        serving.end(job)
        raise
    events = streaming.events(job, first, serving.end)
    return StreamingResponse(events, media_type="text/event-stream")


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    hung_up = asyncio.ensure_future(request.receive())  # the body is read, so the next message is the end
    done = asyncio.ensure_future(work)
    try:
        await asyncio.wait((hung_up, done), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise Gone
        return done.result()
    finally:
        hung_up.cancel()
        done.cancel()


async def _read(request: Request, shape: type[Body], max_body_bytes: int) -> Body:
    body, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= max_body_bytes:
            body += part
        elif size > DRAINED_BYTES:
            break
    if size > max_body_bytes:
        raise too_large(max_body_bytes)
    return parse(bytes(body), shape)
