"""Prompt tokens of a request: a conversation through the tokenizer's own chat template, or a plain prompt."""

from typing import Any

import jinja2

from services.model_server.checkpoint import Checkpoint
from services.model_server.refusals import Refusal, bad_request
from services.model_server.wire import ChatRequest, CompletionRequest, Generation, check_length
from shared.chat import NotText, content_text


def of_chat(base: Checkpoint, request: ChatRequest, max_model_len: int) -> list[int]:
    if base.tokenizer.chat_template is None:
        raise bad_request(
            f"{base.name} has no chat template, so it takes no messages; use /v1/completions.", "messages"
        )
    messages = [_with_text(message, number) for number, message in enumerate(request.messages)]
    extra: dict[str, Any] = (request.model_extra or {}).get("chat_template_kwargs") or {}
    try:
        rendered: str = base.tokenizer.apply_chat_template(
            messages, tokenize=False, **{"add_generation_prompt": True, **_harmless(extra)}
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
        raise bad_request(f"The chat template refuses these messages: {error}", "messages") from error
    _refuse_far_too_long(base, rendered, request, max_model_len)
    return _checked(base, _encoded(base, rendered, special=False))


def of_completion(base: Checkpoint, prompt: str | list[int]) -> list[int]:
    return _checked(base, _encoded(base, prompt, special=True) if isinstance(prompt, str) else prompt)


def of_completions(base: Checkpoint, request: CompletionRequest, max_model_len: int) -> list[list[int]]:
    for text in request.prompts:
        if isinstance(text, str):
            _refuse_far_too_long(base, text, request, max_model_len)
    prompts = [of_completion(base, prompt) for prompt in request.prompts]
    if not prompts:
        raise bad_request("The prompt cannot be empty.", "prompt")
    return prompts


def _refuse_far_too_long(base: Checkpoint, text: str, request: Generation, max_model_len: int) -> None:
    """What can only be too long is not tokenized first: that takes long, and everybody waits."""
    most = base.most_characters
    if most is not None and len(text) > most * max_model_len:
        check_length(max_model_len + 1, request.asked_tokens(), max_model_len)


def _harmless(extra: Any) -> dict[str, Any]:
    """Template switches such as enable_thinking; not those that change what the call returns."""
    if not isinstance(extra, dict):
        raise bad_request("chat_template_kwargs should be an object.", "chat_template_kwargs")
    return {key: value for key, value in extra.items() if key not in _CALL_ARGUMENTS}


_CALL_ARGUMENTS = frozenset(
    ("conversation", "chat_template", "tokenize", "padding", "truncation", "max_length", "return_tensors",
     "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "continue_final_message")
)  # fmt: skip


def _encoded(base: Checkpoint, text: str, *, special: bool) -> list[int]:
    try:
        return base.encode(text, special=special)
    except (UnicodeEncodeError, TypeError) as error:  # half a surrogate pair, which JSON can say and UTF-8 cannot
        raise bad_request(f"The text is not valid Unicode: {error}") from error


def _checked(base: Checkpoint, tokens: list[int]) -> list[int]:
    if not tokens:
        raise bad_request("The prompt cannot be empty.", "prompt")
    if min(tokens) < 0 or max(tokens) >= base.vocabulary:
        raise bad_request(f"Token ids are from 0 to {base.vocabulary - 1} in {base.name}.", "prompt")
    return tokens


def _with_text(message: dict[str, Any], number: int) -> dict[str, Any]:
    """The message with its content as one string; parts other than text are refused."""
    content = message.get("content")
    if not isinstance(message.get("role"), str):
        raise _wrong_message(number, "role", "Input should be a valid string")
    try:
        return {**message, "content": content_text(content)}
    except NotText as error:
        raise _wrong_message(number, "content", str(error)) from error


def _wrong_message(number: int, field: str, why: str) -> Refusal:
    where = f"body.messages.{number}.{field}"
    return Refusal(400, "Bad Request", f"1 validation error:\n  {where}: {why}", where)
