"""Bodies in and answers out, on bare ASGI: what the hot route needs of HTTP."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from services.gateway.refusals import RETRY_AFTER_SECONDS, Refused, bad_request, too_large, too_many_bodies, too_slow

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

MAX_UNDERWAY_BYTES = 64 << 20
DISCARD_BYTES = 64 << 20
DISCARD_SECONDS = 5.0

_JSON = (b"content-type", b"application/json")


class ClientLeft(Exception):
    """The client closed its connection before its answer was complete."""


def peek(receive: Receive) -> Message | None:
    """The next message if it is there already; never waits, sets no timer, makes no task.

    The coroutine runs to its first wait and is closed there, which takes nothing away from the next call.
    """
    waiting: Any = receive()
    try:
        waiting.send(None)
    except StopIteration as done:
        message: Message = done.value
        return message
    waiting.close()
    return None


class Underway:
    """What has arrived of bodies that are not here to their end, of all requests together."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, timeout_seconds: float, underway: Underway
) -> bytes:
    """The whole body, its bytes counted as they come. Refused (408, 413; 429 for many slow ones) or ClientLeft."""
    announced = 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = int(value)
    if announced > max_bytes:
        await _discard(scope, receive, announced)
        raise too_large(max_bytes)
    message = await _first(receive, timeout_seconds)
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(body, receive, max_bytes, timeout_seconds, underway)
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    return body


async def _discard(scope: Scope, receive: Receive, announced: int) -> None:
    """Reads on for a moment: many clients look for an answer only once they have sent everything."""
    if announced > DISCARD_BYTES or any(name == b"expect" for name, _ in scope["headers"]):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while _checked(await receive()).get("more_body"):
                pass


async def _first(receive: Receive, timeout_seconds: float) -> Message:
    message = peek(receive)  # almost always the whole body is here already
    if message is None:
        try:
            async with asyncio.timeout(timeout_seconds):
                message = await receive()
        except TimeoutError:
            raise too_slow(timeout_seconds) from None
    return _checked(message)


async def _rest(first: bytes, receive: Receive, max_bytes: int, timeout_seconds: float, underway: Underway) -> bytes:
    """The body together with what follows; one byte too many is enough to stop."""
    parts, size, more = [first], len(first), True
    underway.bytes += size
    try:
        async with asyncio.timeout(timeout_seconds):
            while more and size <= max_bytes:
                if underway.bytes > MAX_UNDERWAY_BYTES:
                    raise too_many_bodies(MAX_UNDERWAY_BYTES)
                message = _checked(await receive())
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                underway.bytes += len(parts[-1])
                more = message.get("more_body", False)
    except TimeoutError:
        raise too_slow(timeout_seconds) from None
    finally:
        underway.bytes -= size
    return b"".join(parts)


def _checked(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


class Reply:
    """One answer on its way to the client. Every one carries the answer's id, and the version once it is known."""

    __slots__ = ("_answer_id", "_send", "started", "status", "version")

    def __init__(self, send: Send, answer_id: str) -> None:
        self._send = send
        self._answer_id = (b"x-ratchet-answer-id", answer_id.encode("ascii"))
        self.version = b""
        self.status = 499  # until something is sent
        self.started = False

    async def whole(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, [*headers, length])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def begin_stream(self, headers: Iterable[Header]) -> None:
        await self._start(200, [*headers])

    async def piece(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def refuse(self, refusal: Refused) -> None:
        """As an answer of its own; within a stream as an error event, which OpenAI's clients raise."""
        if self.started:
            self.status = refusal.status
            await self.end_stream(b"data: " + refusal.body() + b"\n\n")
            return
        headers = [_JSON]
        if refusal.retry:
            headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
        if refusal.status == 405:
            headers.append((b"allow", b"POST"))
        if refusal.status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        await self.whole(refusal.status, refusal.body(), headers)

    async def _start(self, status: int, headers: list[Header]) -> None:
        self.started, self.status = True, status
        headers.append(self._answer_id)
        if self.version:
            headers.append((b"x-ratchet-version", self.version))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header. Refused (400) when it is no text."""
    for found, value in scope["headers"]:
        if found == name:
            try:
                return str(value, "utf-8")
            except UnicodeDecodeError as error:
                raise bad_request(f"the header {name.decode()} is not valid UTF-8") from error
    return None
