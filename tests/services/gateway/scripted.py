"""A model server whose behaviour a test writes: real sockets, a loop of its own in a thread."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Asked:
    """One request as it arrived, and the pen to answer it with."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes, content_type: str = "application/json", extra: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        await self.send(head.encode() + body)

    async def complete(self, text: str = "hello", **extra: Any) -> None:
        await self.answer(200, json.dumps(completion(text, **extra)).encode())

    async def begin_stream(self) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await self.send(head)

    async def event(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def stream(self, texts: Iterable[str]) -> None:
        await self.begin_stream()
        for event in stream_events(texts):
            await self.event(event)
        await self.send(b"0\r\n\r\n")


def completion(text: str, **extra: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "total_tokens": 18, "completion_tokens": 6},
        **extra,
    }


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **extra: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice], **extra}
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def stream_events(texts: Iterable[str]) -> list[bytes]:
    """As vLLM frames them: the role first, a chunk a token, the reason in the last, then [DONE]."""
    texts = list(texts)
    tokens = [chunk({"content": t}, "stop" if i == len(texts) - 1 else None) for i, t in enumerate(texts)]
    return [chunk({"role": "assistant", "content": ""}), *tokens, b"data: [DONE]\n\n"]


Script = Callable[[Asked], Awaitable[None]]


async def _answer_plainly(asked: Asked) -> None:
    if not asked.head.startswith(b"POST"):
        await asked.answer(404, b"{}")
    elif asked.json.get("stream"):
        await asked.stream(["he", "llo"])
    else:
        await asked.complete()


class ScriptedServer:
    """Set `script` at any time. `asked` holds every request; `gone` counts clients that closed before their answer."""

    def __init__(self, port: int = 0) -> None:
        self.script: Script = _answer_plainly
        self.asked: list[Asked] = []
        self.gone = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self.start(port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, port: int = 0) -> int:
        async def start() -> int:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 24)
            found: int = self._server.sockets[0].getsockname()[1]
            return found

        return asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)

    def stop(self) -> None:
        """Stops listening and breaks every connection, like a process that was killed."""

        async def stop() -> None:
            self._server.close()
            for writer in list(self._connections):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)

    def close(self) -> None:
        self.stop()

        async def cancel() -> None:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                asked = Asked(head, await reader.readexactly(length), writer)
                self.asked.append(asked)
                await self._unless_gone(reader, asked)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _unless_gone(self, reader: asyncio.StreamReader, asked: Asked) -> None:
        """Runs the script; a client that closes meanwhile ends it."""
        script = asyncio.ensure_future(self.script(asked))
        while not script.done():
            await asyncio.wait([script], timeout=0.01)
            if not script.done() and reader.at_eof():
                self.gone += 1
                script.cancel()
                raise asyncio.IncompleteReadError(b"", None)
        await script
