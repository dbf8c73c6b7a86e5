"""The record of an answer: an AnswerServed in its envelope, encoded in one pass from bytes that are at hand.

`_Recorded` has AnswerServed's fields, but keeps messages and parameters as the client's own bytes; a test holds the two
together. The event's id is the answer's id: the same answer is the same event.
"""

import msgspec

from services.gateway.answers import Answer
from services.gateway.wire import ChatRequest, parameters_of
from shared import topics
from shared.bus import Outgoing
from shared.events import TYPE_OF, AnswerServed, utc_now

_TYPE = TYPE_OF[AnswerServed]


class _Recorded(msgspec.Struct, kw_only=True):
    answer_id: str
    workload: str
    version: str
    messages: msgspec.Raw
    answer: str
    finish_reason: str | None
    parameters: dict[str, msgspec.Raw]
    tool_calls: list[dict[str, object]]
    prompt_tokens: int | None
    answer_tokens: int | None
    mean_logprob: float | None
    conversation: str | None
    group: str | None
    user: str | None
    stream: bool
    client_abort: bool
    latency_seconds: float
    first_token_seconds: float | None
    served_at: str


class _Enveloped(msgspec.Struct, kw_only=True):
    id: str
    source: str
    type: str
    time: str
    data: _Recorded
    specversion: str
    dataschema: str
    datacontenttype: str


_encoder = msgspec.json.Encoder()


def record_answer(
    answer_id: str,
    request: ChatRequest,
    version: str,
    messages: msgspec.Raw,
    answer: Answer,
    *,
    latency_seconds: float,
    first_token_seconds: float | None = None,
    client_abort: bool = False,
) -> Outgoing:
    now = utc_now()
    recorded = _Recorded(
        answer_id=answer_id,
        workload=request.model,
        version=version,
        messages=messages,
        answer=answer.text.replace("\0", "\ufffd"),  # a model can say NUL; PostgreSQL cannot keep it
        finish_reason=answer.finish_reason,
        parameters=parameters_of(request),
        tool_calls=answer.tool_calls or [],
        prompt_tokens=answer.prompt_tokens,
        answer_tokens=answer.answer_tokens,
        mean_logprob=answer.mean_logprob,
        conversation=request.conversation,
        group=request.group,
        user=request.user,
        stream=request.stream,
        client_abort=client_abort,
        latency_seconds=latency_seconds,
        first_token_seconds=first_token_seconds,
        served_at=now,
    )
    enveloped = _Enveloped(
        id=answer_id,
        source="ratchet/gateway",
        type=_TYPE,
        time=now,
        data=recorded,
        specversion="1.0",
        dataschema=f"urn:ratchet:{_TYPE}",
        datacontenttype="application/json",
    )
    return Outgoing(topics.ANSWERS, answer_id, _encoder.encode(enveloped))
