"""POST /v1/chat/completions: one raw ASGI function from the request to the recorded, released answer.

Reads:  the routing table, the spool's objection      Emits:  AnswerServed, through the spool
Promise: an answer, or a stream's last event, leaves only after its record is durable.
Twice:  every request is an answer of its own, with its own id.
Fails:  in OpenAI's error shape. A full or broken spool is 503 before the model server is asked; a record that cannot
        be kept withholds the answer. What a model server refused is relayed and not recorded. A stream that breaks off,
        on either side, is recorded with what was sent. An answer too large for a record of the bus is 502; a stream is
        cut with an error event before it is, and recorded so far.
"""

import asyncio
import contextlib
import functools
import logging
import time

import msgspec

from services.gateway import metrics
from services.gateway.answers import BROKEN_OFF, Answer, parse_answer
from services.gateway.asgi import ClientLeft, Receive, Reply, Scope, Send, Underway, header, read_body
from services.gateway.capture import record_answer
from services.gateway.record_room import RecordRoom
from services.gateway.refusals import (
    Refused,
    a_bug,
    spool_broken,
    spool_full,
    too_large_to_record,
    too_many_requests,
    unknown_workload,
    upstream_broke,
    upstream_said,
    wrong_method,
)
from services.gateway.replicas import Replicas
from services.gateway.routing import Route, RoutingTable, WorkloadRoutes
from services.gateway.settings import GatewaySettings
from services.gateway.stream_copy import StreamCopy
from services.gateway.upstream import Connection
from services.gateway.watch import Exchange, Watch, client_left
from services.gateway.wire import ChatRequest, check_label, messages_for, parse_chat_request, upstream_body
from shared.bus import MAX_RECORD_BYTES, Outgoing, size_of
from shared.errors import Unavailable
from shared.ids import uuid7
from shared.sqlite_log import Spool

log = logging.getLogger(__name__)

_answers = functools.cache(metrics.ANSWERS.labels)  # finding a label's counter costs more than counting
_answer_seconds = functools.cache(metrics.ANSWER_SECONDS.labels)
_first_token_seconds = functools.cache(metrics.FIRST_TOKEN_SECONDS.labels)
_FORWARDED = frozenset((b"traceparent", b"tracestate", b"x-request-id"))


class Turn:
    """One request as it makes its way: what is known of it so far."""

    __slots__ = ("answer_id", "began", "exchange", "messages", "planned", "reply", "request", "route", "workload")

    request: ChatRequest
    planned: WorkloadRoutes
    route: Route
    messages: msgspec.Raw
    exchange: Exchange

    def __init__(self, send: Send) -> None:
        self.began = time.monotonic()
        self.answer_id = uuid7()
        self.reply = Reply(send, self.answer_id)
        self.workload = ""  # a label of metrics: only a known one is ever set

    def record(
        self, answer: Answer, *, first_token_seconds: float | None = None, client_abort: bool = False
    ) -> Outgoing:
        return record_answer(
            self.answer_id,
            self.request,
            self.route.version,
            self.messages,
            answer,
            latency_seconds=time.monotonic() - self.began,
            first_token_seconds=first_token_seconds,
            client_abort=client_abort,
        )


class HotRoute:
    def __init__(
        self, settings: GatewaySettings, table: RoutingTable, spool: Spool, replicas: Replicas, watch: Watch
    ) -> None:
        self.table = table  # replaced whole when the plan changes
        self.answered = 0  # since the start
        self.underway = Underway()
        self._settings, self._spool, self._replicas, self._watch = settings, spool, replicas, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn = Turn(send)
        try:
            await self._take(turn, scope, receive)
            await self._answer(turn, scope, receive)
        except Refused as refusal:
            await turn.reply.refuse(refusal)
        except ClientLeft:
            turn.reply.status = 499
        except Exception:
            log.exception("answer %s failed", turn.answer_id)
            await turn.reply.refuse(a_bug(turn.answer_id))
        _answers(turn.workload, turn.reply.status).inc()

    async def _take(self, turn: Turn, scope: Scope, receive: Receive) -> None:
        """Reads the request and decides who answers it; Refused before any model server is troubled."""
        if scope["method"] != "POST":
            raise wrong_method("POST")
        if len(self._watch.live) >= self._settings.max_concurrency:
            raise too_many_requests(self._settings.max_concurrency)
        settings = self._settings
        body = await read_body(scope, receive, settings.max_body_bytes, settings.body_timeout_seconds, self.underway)
        turn.request = request = parse_chat_request(body)
        if request.conversation is None:
            request.conversation = check_label(header(scope, b"x-ratchet-conversation"), "x-ratchet-conversation")
        planned = self.table.workloads.get(request.model)
        if planned is None:
            raise unknown_workload(request.model, self.table.workloads)
        turn.workload, turn.planned = request.model, planned
        self._refuse_without_spool()
        turn.route = planned.choose(request.conversation or turn.answer_id)
        turn.reply.version = turn.route.version_header
        turn.messages = messages_for(request, planned.system_prompt)

    def _refuse_without_spool(self) -> None:
        objection = self._spool.objection()
        if objection is not None:
            raise spool_full(self._spool.max_bytes) if self._spool.is_full() else spool_broken(objection)

    async def _answer(self, turn: Turn, scope: Scope, receive: Receive) -> None:
        exchange = turn.exchange = Exchange(receive)
        self._watch.live.add(exchange)
        try:
            body = upstream_body(turn.request, turn.route.model_json, turn.messages)
            upstream, connection = await self._replicas.ask(
                turn.route.model, turn.planned.upstreams, body, _forwarded(scope), exchange
            )
            try:
                if turn.request.stream and connection.status == 200 and connection.is_event_stream:
                    await self._stream(turn, connection)
                else:
                    await self._whole(turn, connection)
            finally:
                upstream.in_flight -= 1
        except asyncio.CancelledError:
            if exchange.client_left:
                raise ClientLeft from None
            raise
        finally:
            exchange.let_go()
            self._watch.live.discard(exchange)

    async def _whole(self, turn: Turn, connection: Connection) -> None:
        body = await connection.read_whole(self._settings.max_answer_bytes)
        status, headers = connection.status, connection.headers
        turn.exchange.let_go()
        if status != 200:
            metrics.UPSTREAM_ERRORS.labels("status").inc()
            _raise_unless_openai(status, body)
            await turn.reply.whole(status, body, headers)
            return
        answer = parse_answer(body)
        await self._keep(turn, turn.record(answer))
        await turn.reply.whole(200, body, headers)

    async def _stream(self, turn: Turn, connection: Connection) -> None:
        copy, room = StreamCopy(turn.began), RecordRoom(turn.record(Answer()))
        if room.is_used_up:
            raise too_large_to_record(MAX_RECORD_BYTES)
        broken: Refused | ClientLeft | None = None
        await turn.reply.begin_stream(connection.headers)
        try:
            await copy.relay(connection, turn.reply, self._settings.max_answer_bytes, room)
            turn.exchange.let_go(at_last_event=True)
            if turn.exchange.client_left or client_left(turn.exchange.receive):
                broken = ClientLeft()
        except (Refused, ClientLeft) as error:
            broken = error
        except asyncio.CancelledError:  # this process stops, or the client reads nothing
            with contextlib.suppress(Unavailable):
                self._spool.append(self._record_of_stream(turn, copy, copy.rebuilt(aborted=True), aborted=True))
            raise
        aborted = isinstance(broken, ClientLeft)
        answer = copy.rebuilt(aborted=aborted)
        if broken is None and not copy.done and answer.finish_reason == BROKEN_OFF:
            broken = upstream_broke("it ended before it was finished")
        if copy.first_token_seconds is not None:
            _first_token_seconds(turn.workload).observe(copy.first_token_seconds)
        if copy.cut or copy.first_token_seconds is not None:
            await self._keep(turn, self._record_of_stream(turn, copy, answer, aborted=aborted))
        if broken is not None:
            raise broken
        await turn.reply.end_stream(copy.held)

    @staticmethod
    def _record_of_stream(turn: Turn, copy: StreamCopy, answer: Answer, *, aborted: bool) -> Outgoing:
        return turn.record(answer, first_token_seconds=copy.first_token_seconds, client_abort=aborted)

    async def _keep(self, turn: Turn, recorded: Outgoing) -> None:
        """Returns when the record is durable."""
        if size_of(recorded) > MAX_RECORD_BYTES:
            raise too_large_to_record(MAX_RECORD_BYTES)
        try:
            await self._spool.append(recorded)
        except Unavailable as error:
            raise spool_broken(error) from error
        self.answered += 1
        _answer_seconds(turn.workload).observe(time.monotonic() - turn.began)


def _forwarded(scope: Scope) -> bytes:
    """Header lines that go on to the model server: tracing, and the request's own id."""
    found = [header for header in scope["headers"] if header[0] in _FORWARDED]
    if not found:
        return b""
    named = b",".join(value for name, value in scope["headers"] if name == b"connection").lower()
    hop_by_hop = {name.strip() for name in named.split(b",")}
    return b"".join(b"%b: %b\r\n" % header for header in found if header[0] not in hop_by_hop)


def _raise_unless_openai(status: int, body: bytes) -> None:
    """What is no error in OpenAI's shape is told in that shape."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        values = msgspec.json.decode(body)
        if isinstance(values, dict) and isinstance(values.get("error"), dict) and status >= 400:
            return
    said = body[:200].decode("utf-8", "replace")
    raise upstream_broke(f"status {status}: {said}") if status < 400 else upstream_said(status, said)
