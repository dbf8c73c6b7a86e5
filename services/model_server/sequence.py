"""One answer on its way: what was asked, what has been generated, and who hears of it.

A sequence keeps the adapter object it began with. Adapters are never changed in place, so loading or unloading a name
cannot reach a sequence in flight; the weights are freed when the last sequence that holds them ends.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from services.model_server.adapters import Adapter
    from services.model_server.text import GrowingText


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. temperature 0 is greedy; logprobs None: not asked for, else how many alternatives."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logprobs: int | None = None
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()

    @property
    def greedy(self) -> bool:
        return self.temperature < 1e-5


@dataclass(frozen=True, slots=True)
class Logprob:
    """The chosen token's log-probability, and the chosen and likeliest tokens, best first after the chosen one."""

    chosen: float
    alternatives: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token. text may be empty: half a character, or what could still become a stop string."""

    token: int
    text: str
    logprob: Logprob | None
    finish: str | None = None  # "stop" or "length"
    stop: str | int | None = None  # the stop string or token that ended it


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer will not come: why, in words for the caller."""

    why: str


@dataclass(eq=False, slots=True)
class Sequence:
    """streaming: every step is announced; otherwise only the last one, with all of them in `steps`."""

    prompt: list[int]
    sampling: Sampling
    adapter: "Adapter | None"
    text: "GrowingText"
    announce: Callable[["Sequence", Step | Failed], None]
    streaming: bool = False
    index: int = 0
    steps: list[Step] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    generator: "torch.Generator | None" = None
    cancelled: bool = False
    arrived: float = field(default_factory=time.perf_counter)

    @property
    def reserved(self) -> int:
        """Columns of cache it may come to need."""
        return len(self.prompt) + self.sampling.max_tokens

    def accept(self, token: int, logprob: Logprob | None, ends: frozenset[int]) -> Step:
        """Adds the token and says what it means: text to show, and whether this was the last one."""
        sampling = self.sampling
        self.tokens.append(token)
        if not sampling.ignore_eos and token in ends:
            step = Step(token, self.text.finish(), logprob, "stop")
        elif token in sampling.stop_token_ids:
            step = Step(token, self.text.finish(), logprob, "stop", token)
        else:
            shown, stop = self.text.push(token)
            if stop is not None:
                step = Step(token, shown, logprob, "stop", stop)
            elif len(self.tokens) >= sampling.max_tokens:
                step = Step(token, shown + self.text.finish(), logprob, "length")
            else:
                step = Step(token, shown, logprob)
        self.steps.append(step)
        return step
