"""From the engine's news to what a caller reads: a finished answer, or server-sent events, one a token."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from services.model_server.answers import Answer, running_usage
from services.model_server.refusals import internal
from services.model_server.sequence import Failed, Sequence, Step
from services.model_server.wire import StreamOptions

News = tuple[Sequence, Step | Failed]


@dataclass
class Job:
    """One request in the engine: an answer of one or more choices. prompt_tokens: of all its prompts, each once."""

    answer: Answer
    sequences: list[Sequence]
    prompt_tokens: int
    chat: bool
    inbox: "asyncio.Queue[News]"
    options: StreamOptions = field(default_factory=StreamOptions)


async def finish(job: Job) -> None:
    """Returns when every choice has ended; a Refusal when one failed."""
    for _ in job.sequences:
        _sound(await job.inbox.get())


async def first_news(job: Job) -> News:
    return _sound(await job.inbox.get())


async def events(job: Job, first: News, end: Callable[[Job], None]) -> AsyncIterator[bytes]:
    """All that has come is sent in one write; the events in it stay one a token."""
    stream = _Stream(job)
    try:
        ready = [first]
        yield stream.opening()
        while True:
            while not job.inbox.empty():
                ready.append(job.inbox.get_nowait())
            yield b"".join(stream.event(*news) for news in ready)
            if stream.ended:
                break
            ready = [await job.inbox.get()]
        yield stream.closing()
    finally:
        end(job)


class _Stream:
    """What has been sent so far."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tokens = dict.fromkeys(job.sequences, 0)
        self._characters = dict.fromkeys(job.sequences, 0)
        self._running = len(job.sequences)
        self._failed = False

    @property
    def ended(self) -> bool:
        return self._failed or self._running == 0

    def opening(self) -> bytes:
        job = self._job
        if not job.chat:
            return b""
        return b"".join(_event(job.answer.first_chunk(s, self._usage(s))) for s in job.sequences)

    def event(self, sequence: Sequence, what: Step | Failed) -> bytes:
        if isinstance(what, Failed):
            self._failed = True
            return _event(internal(what.why).body())
        self._tokens[sequence] += 1
        self._running -= what.finish is not None
        offset = self._characters[sequence]
        self._characters[sequence] += len(what.text)
        chunk = self._job.answer.chunk(
            sequence,
            what,
            self._usage(sequence),
            number=self._tokens[sequence],
            offset=offset,
            last=self._running == 0 and not self._job.options.include_usage,
        )
        return _event(chunk)

    def closing(self) -> bytes:
        job = self._job
        if self._failed or not job.options.include_usage:
            return b"data: [DONE]\n\n"
        return _event(job.answer.usage_chunk(job.prompt_tokens, sum(self._tokens.values()))) + b"data: [DONE]\n\n"

    def _usage(self, sequence: Sequence) -> dict[str, object] | None:
        options = self._job.options
        if not (options.include_usage and options.continuous_usage_stats):
            return None
        return running_usage(len(sequence.prompt), self._tokens[sequence])


def _event(body: object) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


def _sound(news: News) -> News:
    _sequence, what = news
    if isinstance(what, Failed):
        raise internal(what.why)
    return news
