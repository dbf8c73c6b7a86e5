"""What the record needs of an answer: text, finish reason, tool calls, usage, confidence. Pure.

Bytes are relayed as they came; this module only reads a copy. A stream is put together once, at its end.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from services.gateway.refusals import Refused, upstream_broke

BROKEN_OFF = "error"  # finish_reason of an answer that the model server did not finish
_DONE_LINE = re.compile(rb"(?:^|\n)data: ?\[DONE\]")


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Logprob(msgspec.Struct):
    logprob: float | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_completion_decoder = msgspec.json.Decoder(_Completion)


@dataclass(slots=True)
class Answer:
    """What the record needs of an answer: the first choice, in words and numbers."""

    text: str = ""
    finish_reason: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    mean_logprob: float | None = None


def parse_answer(body: bytes) -> Answer:
    """Refused (502) when it is no chat completion, whatever its status said."""
    completion = _decode_completion(body)
    first = next((c for c in completion.choices if c.index == 0), None)
    if first is None or first.message is None:
        raise upstream_broke("it has no choices[0].message")
    answer = Answer(first.message.content or "", first.finish_reason, first.message.tool_calls)
    _take_usage(answer, completion.usage)
    _take_logprobs(answer, _logprobs_of(first))
    return answer


def rebuild_stream(body: bytes) -> Answer:
    """The answer of a stream's bytes; lines that are no chunk of ours are passed over, a cut-off tail too."""
    answer, texts, calls, logprobs = Answer(), [], _ToolCalls(), []
    for line in body.split(b"\n"):
        if not line.startswith(b"data:") or b"[DONE]" in line[:12]:
            continue
        try:
            chunk = _decode_completion(line[5:].strip())
        except Refused:
            continue
        _take_usage(answer, chunk.usage)
        for choice in chunk.choices:
            if choice.index == 0:
                answer.finish_reason = choice.finish_reason or answer.finish_reason
                logprobs += _logprobs_of(choice)
                if choice.delta is not None:
                    texts.append(choice.delta.content or "")
                    calls.add(choice.delta.tool_calls)
    answer.text = "".join(texts)
    answer.tool_calls = calls.whole()
    _take_logprobs(answer, logprobs)
    return answer


def split_before_done(data: bytes) -> tuple[bytes, bytes]:
    """What of a stream may be relayed at once, and what must wait: the [DONE] line on, or a line still incomplete.

    `data` begins at the start of a line.
    """
    if b"[DONE]" in data:
        match = _DONE_LINE.search(data)
        if match is not None:
            cut = match.start() + (data[match.start()] == 10)
            return data[:cut], data[cut:]
    cut = data.rfind(b"\n") + 1
    return data[:cut], data[cut:]


def is_done(held: bytes) -> bool:
    """Whether what `split_before_done` held back is the whole last event, with the blank line that ends it."""
    return _DONE_LINE.match(held) is not None and held.endswith((b"\n\n", b"\r\n\r\n"))


class _ToolCalls:
    """Tool calls of a stream: the first piece carries id and name, the later ones parts of the arguments."""

    def __init__(self) -> None:
        self._by_index: dict[int, dict[str, Any]] = {}

    def add(self, pieces: list[dict[str, Any]] | None) -> None:
        for piece in pieces or ():
            index = piece.get("index")
            call = self._by_index.setdefault(index if isinstance(index, int) else 0, {})
            for key, value in piece.items():
                if key == "function" and isinstance(value, dict):
                    self._add_function(call.setdefault("function", {}), value)
                elif key != "index" and value is not None:
                    call[key] = value

    @staticmethod
    def _add_function(function: dict[str, Any], piece: dict[str, Any]) -> None:
        for key, value in piece.items():
            if isinstance(value, str):
                function[key] = function.get(key, "") + value

    def whole(self) -> list[dict[str, Any]] | None:
        return [self._by_index[index] for index in sorted(self._by_index)] or None


def _decode_completion(body: bytes) -> _Completion:
    try:
        return _completion_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise upstream_broke(f"it is no chat completion: {error}") from error


def _take_usage(answer: Answer, usage: _Usage | None) -> None:
    if usage is not None:
        answer.prompt_tokens, answer.answer_tokens = usage.prompt_tokens, usage.completion_tokens


def _logprobs_of(choice: _Choice) -> list[float]:
    if choice.logprobs is None or choice.logprobs.content is None:
        return []
    return [token.logprob for token in choice.logprobs.content if token.logprob is not None]


def _take_logprobs(answer: Answer, logprobs: list[float]) -> None:
    if logprobs:
        answer.mean_logprob = sum(logprobs) / len(logprobs)
