"""What is asked and what the model server says: a request of 0.5 kB, an answer of 0.6 kB, a stream of 64 events."""

import json
from typing import Any

EVENTS = 64
EVENT_SECONDS = 0.002  # between two events, so that each is a packet and a wake-up of its own
MODEL = "tiny"  # what the model server calls it
_TEXT = "The router in building 7 is down since this morning. "

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": _TEXT * 8}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "total_tokens": 180, "completion_tokens": 90},
    },
    separators=(",", ":"),
)


def events() -> list[str]:
    """The stream's lines as vLLM frames them, the end among the last."""
    pieces = [_event({"content": " word"}, "stop" if number == EVENTS - 1 else None) for number in range(EVENTS)]
    return [*pieces, "data: [DONE]\n\n"]


def request(model: str, *, stream: bool) -> bytes:
    messages = [{"role": "system", "content": "You sort tickets."}, {"role": "user", "content": _TEXT * 6}]
    wanted: dict[str, Any] = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 200}
    return json.dumps(wanted | ({"stream": True} if stream else {})).encode()


def _event(delta: dict[str, str], reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"
