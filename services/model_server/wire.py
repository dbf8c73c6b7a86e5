"""What requests say: OpenAI's fields with vLLM's limits and sentences.

Unknown fields are accepted and ignored. A field that is known and would change the answer in a way this server cannot
is refused, so nobody takes free text for text that a schema constrained.
"""

import json
import math
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.model_server.refusals import bad_request, invalid, malformed_json, missing_body
from services.model_server.sequence import Sampling

MOST_LOGPROBS = 20
MOST_CHOICES = 128
MOST_STOPS = 64
DEFAULT_COMPLETION_TOKENS = 16
UNSERVED = (
    "tools", "functions", "logit_bias", "prompt_logprobs", "echo", "suffix", "structured_outputs", "guided_json",
    "guided_regex", "guided_choice", "guided_grammar", "use_beam_search", "min_p", "min_tokens", "bad_words", "audio",
)  # fmt: skip


class StreamOptions(BaseModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class Generation(BaseModel):
    """What chat and plain completions share."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool = False
    return_token_ids: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def choices(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def answers(self) -> int:
        """Choices of all prompts together."""
        return self.choices

    def asked_tokens(self) -> int | None:
        return self.max_tokens

    def asked_logprobs(self) -> int | None:
        raise NotImplementedError

    def check(self) -> None:
        """What every request must satisfy, whatever the model."""
        for name in UNSERVED:
            if (self.model_extra or {}).get(name):
                raise bad_request(f"{name} is not supported by the embedded model server; leave it out.", name)
        if self.response_format is not None and self.response_format.get("type") not in (None, "text"):
            raise bad_request(
                "response_format other than text is not supported by the embedded model server.", "response_format"
            )
        if self.repetition_penalty not in (None, 1):
            raise bad_request(
                "repetition_penalty is not supported by the embedded model server; leave it out.", "repetition_penalty"
            )
        _check_numbers(self)
        if self.stream_options is not None and not self.stream:
            raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
        if len(self.stops) > MOST_STOPS or not all(self.stops):
            raise bad_request(f"stop takes at most {MOST_STOPS} strings, and none of them empty.", "stop")

    def sampling(
        self, prompt_tokens: int, max_model_len: int, vocabulary: int, default_tokens: int | None
    ) -> list[Sampling]:
        """One for each choice. Refuses what does not fit the model's length."""
        asked = self.asked_tokens()
        check_length(prompt_tokens, asked, max_model_len)
        room = max_model_len - prompt_tokens
        max_tokens = min(room, asked if asked is not None else default_tokens or room)
        return [
            Sampling(
                max_tokens=max_tokens,
                temperature=1.0 if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                top_k=min(max(self.top_k or 0, 0), vocabulary),
                presence_penalty=self.presence_penalty or 0.0,
                frequency_penalty=self.frequency_penalty or 0.0,
                seed=None if self.seed is None else (self.seed + choice) % 2**63,
                logprobs=self.asked_logprobs(),
                ignore_eos=self.ignore_eos,
                stop_token_ids=frozenset(self.stop_token_ids or ()),
            )
            for choice in range(self.choices)
        ]


class ChatRequest(Generation):
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None

    def asked_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def asked_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def check(self) -> None:
        super().check()
        if self.top_logprobs and not self.logprobs:
            raise bad_request("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")


class CompletionRequest(Generation):
    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = None

    @property
    def answers(self) -> int:
        return self.choices * len(self.prompts)

    def asked_logprobs(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        if all(isinstance(item, int) for item in self.prompt):
            return [self.prompt] if self.prompt else []  # type: ignore[list-item]
        return list(self.prompt)  # type: ignore[arg-type]


class LoadRequest(BaseModel):
    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadRequest(BaseModel):
    lora_name: str


Body = TypeVar("Body", bound=BaseModel)


def parse(body: bytes, shape: type[Body]) -> Body:
    """The request in a body, or a Refusal that says where it is wrong."""
    if not body:
        raise missing_body()
    try:
        raw = json.loads(body, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise malformed_json(error.pos, error.msg) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of 5,000 digits, NaN, nested too deep
        raise malformed_json(0, str(error) or type(error).__name__) from error
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        raise invalid(error) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _check_numbers(asked: Generation) -> None:
    tokens = asked.asked_tokens()
    if tokens is not None and tokens < 1:
        raise bad_request(f"max_tokens must be at least 1, got {tokens}.", "max_tokens", tokens)
    _check_range("temperature", asked.temperature, "must be non-negative", lambda value: 0 <= value < math.inf)
    _check_range("top_p", asked.top_p, "must be in (0, 1]", lambda value: 0 < value <= 1)
    _check_range("top_k", asked.top_k, "must be -1 or 0 (all tokens), or at least 1", lambda value: value >= -1)
    _check_range("presence_penalty", asked.presence_penalty, "must be in [-2, 2]", lambda value: -2 <= value <= 2)
    _check_range("frequency_penalty", asked.frequency_penalty, "must be in [-2, 2]", lambda value: -2 <= value <= 2)
    if not 1 <= asked.choices <= MOST_CHOICES:
        raise bad_request(f"n must be at least 1 and at most {MOST_CHOICES}, got {asked.choices}.", "n", asked.choices)
    if asked.choices > 1 and asked.temperature is not None and asked.temperature < 1e-5:
        raise bad_request(f"n must be 1 when using greedy sampling, got {asked.choices}.")
    logprobs = asked.asked_logprobs()
    if logprobs is not None and not 0 <= logprobs <= MOST_LOGPROBS:
        wrong = "negative" if logprobs < 0 else f"greater than max allowed: {MOST_LOGPROBS}"
        raise bad_request(f"Requested sample logprobs of {logprobs}, which is {wrong}", "logprobs")


def _check_range(name: str, value: float | None, must: str, holds: Any) -> None:
    if value is not None and not holds(value):  # NaN never holds
        raise bad_request(f"{name} {must}, got {value}.", name, value)


def check_length(prompt_tokens: int, asked: int | None, max_model_len: int) -> None:
    if asked is not None and asked > max_model_len:
        raise bad_request(
            f"max_tokens={asked} cannot be greater than max_model_len={max_model_len}. "
            "Please request fewer output tokens.",
            "max_tokens",
            asked,
        )
    limit = f"This model's maximum context length is {max_model_len} tokens. However,"
    least = min(prompt_tokens, max_model_len + 1)
    if prompt_tokens >= max_model_len:
        raise bad_request(
            f"{limit} your prompt contains at least {least} input tokens, which exceeds this limit even without any "
            "output tokens. Please reduce the length of the input prompt.",
            "input_tokens",
            least,
        )
    if asked is not None and prompt_tokens + asked > max_model_len:
        raise bad_request(
            f"{limit} you requested {asked} output tokens and your prompt contains at least {least} input tokens, for "
            f"a total of at least {least + asked} tokens. Please reduce the length of the input prompt or the number "
            "of requested output tokens.",
            "input_tokens",
            least,
        )
