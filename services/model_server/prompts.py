"""Prompt tokens of a request: a conversation through the tokenizer's own chat template, or a plain prompt."""

from typing import Any

import jinja2

from services.model_server.checkpoint import Checkpoint
from services.model_server.refusals import bad_request
from services.model_server.wire import ChatRequest, CompletionRequest, text_of


def of_chat(base: Checkpoint, request: ChatRequest) -> list[int]:
    if base.tokenizer.chat_template is None:
        raise bad_request(
            f"{base.name} has no chat template, so it takes no messages; use /v1/completions.", "messages"
        )
    messages = [text_of(message, number) for number, message in enumerate(request.messages)]
    extra: dict[str, Any] = (request.model_extra or {}).get("chat_template_kwargs") or {}
    try:
        rendered: str = base.tokenizer.apply_chat_template(
            messages, tokenize=False, **{"add_generation_prompt": True, **_harmless(extra)}
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
        raise bad_request(f"The chat template refuses these messages: {error}", "messages") from error
    return _checked(base, _encoded(base, rendered, special=False))


def of_completion(base: Checkpoint, prompt: str | list[int]) -> list[int]:
    return _checked(base, _encoded(base, prompt, special=True) if isinstance(prompt, str) else prompt)


def of_completions(base: Checkpoint, request: CompletionRequest) -> list[list[int]]:
    prompts = [of_completion(base, prompt) for prompt in request.prompts]
    if not prompts:
        raise bad_request("The prompt cannot be empty.", "prompt")
    return prompts


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
