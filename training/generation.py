"""Answers for many prompts at once: greedy ones, or drawn at a temperature.

Prompts of like length share a batch, padded on the left. A prompt that cannot be answered gets an error of its own;
the others go on. What comes out for a prompt does not depend on the batch size, up to the rounding of a batched
product; drawn answers depend on the seed and the batches.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.data import prompt_ids
from training.examples import Message


@dataclass(frozen=True, slots=True)
class Generated:
    place: int  # of the prompt in the sequence that was given
    answer: str
    tokens: int  # the end token not counted
    seconds: float  # its share of the batch
    error: str | None
    prompt_tokens: int = 0
    cut_off: bool = False  # it reached max_new_tokens, or the model's last position, without ending


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    *,
    batch_size: int,
    max_new_tokens: int,
    temperature: float | None = None,
    seed: int = 0,
) -> Iterator[list[Generated]]:
    """Batches as they are done, longest prompts first: what runs out of memory does so at once.

    temperature: None is greedy; the seed counts only with one.
    """
    if temperature is not None:
        torch.manual_seed(seed)
    sampling = _sampling(temperature)
    positions = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    ready: list[tuple[int, list[int]]] = []
    refused: list[Generated] = []
    for place, messages in enumerate(prompts):
        try:
            ids = prompt_ids(tokenizer, messages)
        except Exception as error:  # templates raise what they like
            refused.append(Generated(place, "", 0, 0.0, f"the chat template refuses it: {error}"))
            continue
        if len(ids) >= positions:
            refused.append(
                Generated(place, "", 0, 0.0, f"the prompt has {len(ids)} tokens, the model reads {positions}")
            )
            continue
        ready.append((place, ids))
    if refused:
        yield refused
    ready.sort(key=lambda pair: len(pair[1]), reverse=True)
    while ready:
        # A prompt near the end of the model's reach answers alone, so that it shortens nobody else's answer.
        tight = len(ready[0][1]) + max_new_tokens > positions
        batch, ready = (ready[:1], ready[1:]) if tight else (ready[:batch_size], ready[batch_size:])
        yield _answered(model, tokenizer, batch, min(max_new_tokens, positions - len(batch[0][1])), sampling)


def _sampling(temperature: float | None) -> dict[str, Any]:
    """Nothing but the temperature decides: a checkpoint's own top-k and top-p would narrow what is measured."""
    if temperature is None:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}


@torch.inference_mode()
def _answered(
    model: Any, tokenizer: Any, batch: list[tuple[int, list[int]]], max_new_tokens: int, sampling: dict[str, Any]
) -> list[Generated]:
    began = time.perf_counter()
    device = next(model.parameters()).device
    width = len(batch[0][1])
    pad = tokenizer.pad_token_id
    tokens = torch.tensor([[pad] * (width - len(ids)) + ids for _, ids in batch], device=device)  # (batch, seq)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for _, ids in batch], device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        written = model.generate(
            input_ids=tokens, attention_mask=mask, max_new_tokens=max_new_tokens, pad_token_id=pad, **sampling
        )[:, width:]
    seconds = (time.perf_counter() - began) / len(batch)
    ends = _end_tokens(model, tokenizer)
    answers = []
    for (place, prompt), row in zip(batch, written.tolist(), strict=True):
        end = next((i for i, token in enumerate(row) if token in ends), None)
        length = len(row) if end is None else end
        text = tokenizer.decode(row[:length], skip_special_tokens=True)
        answers.append(Generated(place, text, length, seconds, None, len(prompt), cut_off=end is None))
    return answers


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return {token for token in [*several, tokenizer.eos_token_id] if token is not None}
