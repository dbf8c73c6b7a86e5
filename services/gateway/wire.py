"""OpenAI's request body: what the gateway must know of it, and what it becomes on its way to the model server. Pure.

Read once, and refused with a sentence when any later reader could stumble over it (depth, numbers out of range, half
surrogates, NUL), so that what is recorded can always be decoded again. Unknown fields keep their bytes.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from services.gateway.refusals import bad_request

MAX_DEPTH = 200  # a consumer must still decode the record inside two envelopes, far from Python's 1,000
MAX_LABEL_CHARS = 512  # OpenAI's own limit for a metadata value

Fields = Mapping[str, msgspec.Raw]
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HALF = re.compile("[\ud800-\udfff]")
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class ChatRequest:
    model: str  # a workload's name
    stream: bool
    user: str | None
    conversation: str | None
    group: str | None
    has_instructions: bool  # a system or developer message of its own
    fields: dict[str, msgspec.Raw]  # all of them, bytes as they came


def parse_chat_request(body: bytes) -> ChatRequest:
    """Refused (400) in words when it is not a chat request that the model and every later reader can use."""
    values, fields = decode_object(body)
    messages = values.get("messages")
    if not isinstance(messages, list):
        what = "is missing" if messages is None else f"is {_kind(messages)}"
        raise bad_request(f"`messages` {what}; it should be a list of messages", "messages")
    if not messages:
        raise bad_request("`messages` is empty; send at least one message", "messages")
    model = values.get("model")
    if not isinstance(model, str):
        what = "is missing" if model is None else f"is {_kind(model)}"
        raise bad_request(f"`model` {what}; it should be a workload's name", "model")
    stream = values.get("stream") or False
    if stream is not True and stream is not False:
        raise bad_request(f"`stream` is {_kind(stream)}; it should be true or false", "stream")
    metadata = values.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request(f"`metadata` is {_kind(metadata)}; it should be an object", "metadata")
    return ChatRequest(
        model=model,
        stream=stream,
        user=_label(values, "user", "user"),
        conversation=_label(metadata, "conversation", "metadata.conversation"),
        group=_label(metadata, "group", "metadata.group"),
        has_instructions=_has_instructions(messages),
        fields=fields,
    )


def messages_for(request: ChatRequest, system_prompt: bytes | None) -> msgspec.Raw:
    """The messages as the model will see them. system_prompt: the encoded message of the workload."""
    raw = request.fields["messages"]
    if system_prompt is None or request.has_instructions:
        return raw
    return msgspec.Raw(b"[" + system_prompt + b"," + bytes(raw).lstrip()[1:])


def system_message(text: str | None) -> bytes | None:
    return None if not text else _encoder.encode({"role": "system", "content": text})


def upstream_body(request: ChatRequest, model: bytes, messages: msgspec.Raw) -> bytes:
    """The request as the model server gets it. model: the served name, encoded."""
    fields = request.fields.copy()
    fields.pop("metadata", None)
    fields["model"] = msgspec.Raw(model)
    fields["messages"] = messages
    return _encoder.encode(fields)


def parameters_of(request: ChatRequest) -> dict[str, msgspec.Raw]:
    """What the record keeps of the request beside messages and model."""
    fields = request.fields.copy()
    del fields["messages"], fields["model"]
    return fields


def decode_object(body: bytes) -> tuple[dict[str, Any], dict[str, msgspec.Raw]]:
    """A body's values, and the bytes of each. Refused (400) when a later reader could stumble over it."""
    try:
        values = msgspec.json.decode(body)
        if not isinstance(values, dict):
            raise bad_request(f"the body is {_kind(values)}; it should be a JSON object")
        fields = _fields_decoder.decode(body)
    except UnicodeDecodeError as error:
        raise bad_request(f"the body is not valid UTF-8: {error}") from error
    except RecursionError as error:
        raise bad_request(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except msgspec.DecodeError as error:
        raise bad_request(f"the body is not usable JSON: {_why(body, error)}") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(values)
    if b"\\u0000" in body:
        _refuse_nul(values)
    return values, fields


def _why(body: bytes, error: msgspec.DecodeError) -> str:
    """msgspec calls half a surrogate pair a truncated input; Python's reader takes it, and so finds it."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return str(error)
    return "it contains half a surrogate pair, which is no character; remove it" if _HALF.search(text) else str(error)


def _refuse_depth(values: Any) -> None:
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            children: Iterable[Any] = value.values() if isinstance(value, dict) else value
            inner += [child for child in children if isinstance(child, dict | list)]
        if not inner:
            return
        level = inner
    raise bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_nul(values: Any) -> None:
    """`\\u0000` may also be the innocent text backslash-u-0000, so the decoded strings decide."""
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise bad_request("the body contains a NUL character, which cannot be stored; remove it")
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value


def _has_instructions(messages: list[Any]) -> bool:
    found = False
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise bad_request(f"`messages[{index}]` is {_kind(message)}; it should be an object", f"messages.{index}")
        role = message.get("role")
        if not isinstance(role, str):
            raise bad_request(f"`messages[{index}].role` should be a text such as user", f"messages.{index}.role")
        if role in ("system", "developer"):
            found = True
    return found


def _label(values: dict[str, Any], key: str, param: str) -> str | None:
    return None if key not in values else check_label(values[key], param)


def check_label(value: Any, param: str) -> str | None:
    """A short text of the application's: a user, a conversation, a group. Empty means none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad_request(f"`{param}` is {_kind(value)}; it should be a text", param)
    if len(value) > MAX_LABEL_CHARS:
        raise bad_request(f"`{param}` has {len(value)} characters; at most {MAX_LABEL_CHARS}", param)
    return value or None


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
