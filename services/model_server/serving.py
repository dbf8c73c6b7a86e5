"""What the routes work with: the base, its adapters and the engine, and how a request becomes sequences in it."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from services.model_server import prompts
from services.model_server.adapters import Adapter, Adapters
from services.model_server.answers import Answer
from services.model_server.capacity import Capacity
from services.model_server.checkpoint import Checkpoint
from services.model_server.engine import Engine, Refused
from services.model_server.refusals import bad_request, busy, not_found
from services.model_server.sequence import Sequence
from services.model_server.streaming import Job
from services.model_server.text import BROKEN, GrowingText
from services.model_server.wire import (
    DEFAULT_COMPLETION_TOKENS,
    ChatRequest,
    CompletionRequest,
    Generation,
    StreamOptions,
)

LONG_PROMPT_CHARACTERS = 20_000  # from here on, tokenizing would hold up the other streams


@dataclass
class Serving:
    base: Checkpoint
    adapters: Adapters
    engine: Engine
    capacity: Capacity
    version: str
    max_body_bytes: int
    created: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def fingerprint(self) -> str:
        what = f"{self.base.model.config.to_json_string()} {self.base.model.dtype} {self.base.model.device.type}"
        return f"ratchet-{self.version}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    @cached_property
    def show(self) -> Callable[[int], str]:
        """One token's own text; empty for part of a character."""

        def shown(token: int) -> str:
            text: str = self.base.tokenizer.backend_tokenizer.decode([token], skip_special_tokens=False)
            return "" if text.endswith(BROKEN) else text

        return lru_cache(maxsize=50_000)(shown)

    def described(self) -> dict[str, Any]:
        return {
            "name": self.base.name,
            "root": self.base.root,
            "created": self.created,
            "parent": None,
            "max_model_len": self.capacity.max_model_len,
        }

    async def begin(self, asked: Generation, answer_id: str) -> Job:
        """Hands the request to the engine; a Refusal when it cannot be done."""
        name = asked.model or self.base.name
        adapter = self.held(name)  # from here on this request's own, whatever is unloaded meanwhile
        asked.check()
        if asked.answers > self.engine.max_queue:
            limit = self.engine.max_queue
            raise bad_request(f"{asked.answers} answers in one request are more than the {limit} that may wait.", "n")
        is_long = _characters(asked) > LONG_PROMPT_CHARACTERS
        tokens = await asyncio.to_thread(self._prompts, asked) if is_long else self._prompts(asked)
        job = Job(
            answer=Answer(
                chat=isinstance(asked, ChatRequest),
                request_id=answer_id,
                model=name,
                fingerprint=self.fingerprint,
                show=self.show,
                token_ids=asked.return_token_ids,
            ),
            sequences=[],
            prompt_tokens=sum(map(len, tokens)),
            chat=isinstance(asked, ChatRequest),
            inbox=asyncio.Queue(),
            options=asked.stream_options or StreamOptions(),
        )
        job.sequences = self._sequences(asked, tokens, adapter, job)
        try:
            self.engine.submit(job.sequences)
        except Refused as error:
            raise busy(str(error)) from error
        return job

    def end(self, job: Job) -> None:
        """What of it still runs is not wanted any more."""
        for sequence in job.sequences:
            self.engine.cancel(sequence)

    def held(self, name: str) -> Adapter | None:
        """None for the base itself; a Refusal for a name that is not here."""
        if name == self.base.name:
            return None
        adapter = self.adapters.get(name)
        if adapter is None:
            raise not_found(f"The model `{name}` does not exist. Valid aliases: {self.base.name}.", "model")
        return adapter

    def _prompts(self, asked: Generation) -> list[list[int]]:
        limit = self.capacity.max_model_len
        if isinstance(asked, ChatRequest):
            return [prompts.of_chat(self.base, asked, limit)]
        assert isinstance(asked, CompletionRequest)
        return prompts.of_completions(self.base, asked, limit)

    def _sequences(
        self, asked: Generation, tokens: list[list[int]], adapter: Adapter | None, job: Job
    ) -> list[Sequence]:
        default = None if isinstance(asked, ChatRequest) else DEFAULT_COMPLETION_TOKENS
        sequences: list[Sequence] = []
        for prompt in tokens:
            for sampling in asked.sampling(len(prompt), self.capacity.max_model_len, self.base.vocabulary, default):
                text = GrowingText(self.base.decode, prompt, asked.stops, asked.include_stop_str_in_output)
                sequences.append(
                    Sequence(
                        prompt,
                        sampling,
                        adapter,
                        text,
                        lambda sequence, what: job.inbox.put_nowait((sequence, what)),
                        streaming=bool(asked.stream),
                        index=len(sequences),
                    )
                )
        return sequences


def _characters(asked: Generation) -> int:
    if isinstance(asked, ChatRequest):
        return sum(len(m.get("content") or "") if isinstance(m.get("content"), str) else 1000 for m in asked.messages)
    prompt = getattr(asked, "prompt", "")
    return len(prompt) if isinstance(prompt, str) else sum(len(p) for p in prompt if isinstance(p, str))
