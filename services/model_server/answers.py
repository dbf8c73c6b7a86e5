"""Bodies of answers, key for key as vLLM writes them: whole, and as chunks of a stream."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from services.model_server.adapters import Adapter
from services.model_server.sequence import Logprob, Sequence, Step

OWNER = "ratchet"


class Answer:
    """One answer's identity, from which all its bodies are made. show: one token's text."""

    def __init__(
        self, *, chat: bool, request_id: str, model: str, fingerprint: str, show: Callable[[int], str], token_ids: bool
    ) -> None:
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{request_id}"
        self._chat = chat
        self._model = model
        self._fingerprint = fingerprint
        self._show = show
        self._token_ids = token_ids
        self._created = int(time.time())

    def whole(self, sequences: list[Sequence], prompt_tokens: int) -> dict[str, Any]:
        generated = sum(len(sequence.tokens) for sequence in sequences)
        usage = {**_usage(prompt_tokens, generated), "prompt_tokens_details": None, "completion_tokens_details": None}
        choices = [self._chat_choice(s) if self._chat else self._text_choice(s) for s in sequences]
        body = {
            **self._head("chat.completion" if self._chat else "text_completion"),
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": self._fingerprint,
            "usage": usage,
        }
        if self._chat:
            prompt = sequences[0].prompt if self._token_ids else None
            body |= {"prompt_logprobs": None, "prompt_token_ids": prompt, "prompt_text": None}
        return body | {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}

    def first_chunk(self, sequence: Sequence, usage: dict[str, Any] | None) -> dict[str, Any]:
        """Chat only: the role, before any text."""
        choice = {
            "index": sequence.index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        prompt = sequence.prompt if self._token_ids else None
        chunk = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return chunk | _present(usage=usage) | {"prompt_token_ids": prompt, "prompt_text": None}

    def chunk(
        self, sequence: Sequence, step: Step, usage: dict[str, Any] | None, *, number: int, offset: int, last: bool
    ) -> dict[str, Any]:
        """The number-th token. offset: characters before it. last: nothing follows, so it carries the fingerprint."""
        token_ids = [step.token] if self._token_ids else None
        ended = step.finish is not None
        choice: dict[str, Any] = {"index": sequence.index}
        if self._chat:
            choice |= {
                "delta": {"content": step.text},
                "logprobs": self._chat_logprobs([step]),
                "finish_reason": step.finish,
            }
            choice |= {"stop_reason": step.stop, "token_ids": token_ids} if ended else {"token_ids": token_ids}
        else:
            prompt = sequence.prompt if self._token_ids and number == 1 else None
            choice |= {"text": step.text, "logprobs": self._text_logprobs([step], offset)}
            choice |= {"finish_reason": step.finish, "stop_reason": step.stop}
            choice |= {"prompt_token_ids": prompt, "token_ids": token_ids}
        head = self._head("chat.completion.chunk" if self._chat else "text_completion")
        chunk = {**head, "choices": [choice]} | _present(usage=usage)
        return chunk | {"system_fingerprint": self._fingerprint} if last else chunk

    def usage_chunk(self, prompt_tokens: int, generated: int) -> dict[str, Any]:
        head = self._head("chat.completion.chunk" if self._chat else "text_completion")
        return {
            **head,
            "choices": [],
            "usage": _usage(prompt_tokens, generated),
            "system_fingerprint": self._fingerprint,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self._created, "model": self._model}

    def _chat_choice(self, sequence: Sequence) -> dict[str, Any]:
        message = {"role": "assistant", "content": _text(sequence), "refusal": None, "annotations": None}
        return {
            "index": sequence.index,
            "message": message | {"audio": None, "function_call": None, "reasoning": None},
            "logprobs": self._chat_logprobs(sequence.steps),
            **self._ending(sequence),
            "routed_experts": None,
        }

    def _text_choice(self, sequence: Sequence) -> dict[str, Any]:
        return {
            "index": sequence.index,
            "text": _text(sequence),
            "logprobs": self._text_logprobs(sequence.steps, 0),
            **self._ending(sequence),
            "prompt_logprobs": None,
            "prompt_token_ids": sequence.prompt if self._token_ids else None,
            "routed_experts": None,
        }

    def _ending(self, sequence: Sequence) -> dict[str, Any]:
        last = sequence.steps[-1]
        token_ids = sequence.tokens if self._token_ids else None
        return {"finish_reason": last.finish, "stop_reason": last.stop, "token_ids": token_ids}

    def _chat_logprobs(self, steps: Iterable[Step]) -> dict[str, Any] | None:
        content = [
            {**self._weighed(step.token, step.logprob.chosen), "top_logprobs": self._listed(step.logprob)}
            for step in steps
            if step.logprob is not None
        ]
        return {"content": content} if content else None

    def _listed(self, logprob: Logprob) -> list[dict[str, Any]]:
        return [self._weighed(token, value) for token, value in logprob.alternatives]

    def _weighed(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._show(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}

    def _text_logprobs(self, steps: Iterable[Step], offset: int) -> dict[str, Any] | None:
        offsets, values, tokens, likeliest = [], [], [], []
        for step in steps:
            if step.logprob is None:
                return None
            offsets.append(offset)
            offset += len(step.text)
            values.append(step.logprob.chosen)
            tokens.append(self._show(step.token))
            likeliest.append({self._show(token): value for token, value in step.logprob.alternatives})
        return {"text_offset": offsets, "token_logprobs": values, "tokens": tokens, "top_logprobs": likeliest}


def running_usage(prompt_tokens: int, generated: int) -> dict[str, Any]:
    """In every chunk, for continuous_usage_stats."""
    return {**_usage(prompt_tokens, generated), "completion_tokens_details": None}


def model(base: dict[str, Any], adapter: Adapter | None) -> dict[str, Any]:
    """One of the list; the base where no adapter is given."""
    if adapter is None:
        return _model(**base)
    return _model(adapter.name, adapter.path, adapter.created, parent=base["name"], max_model_len=None)


def model_list(base: dict[str, Any], adapters: list[Adapter]) -> dict[str, Any]:
    return {"object": "list", "data": [model(base, one) for one in (None, *adapters)]}


def _model(name: str, root: str, created: int, parent: str | None, max_model_len: int | None) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{name}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [permission],
    }


def _text(sequence: Sequence) -> str:
    return "".join(step.text for step in sequence.steps)


def _usage(prompt_tokens: int, generated: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + generated, "completion_tokens": generated}


def _present(**fields: object) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
