"""Examples as tokens: rendered by the tokenizer's chat template, packed into rows without mixing.

The prompt's tokens are those the model server makes of the same messages (the template with its generation prompt);
the answer's follow, then the end token. Loss falls on the answer and its end only. In a packed row every example
starts at position 0 again, and with no attention mask given the models of transformers keep such examples apart by
themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from shared.errors import Unusable
from training.examples import Example, Message

NO_LOSS = -100


@dataclass(frozen=True, slots=True)
class Rendered:
    example_id: str
    ids: list[int]
    prompt_tokens: int  # the first of `ids`; the others are the answer and its end

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows of one forward pass, all (rows, seq)."""

    tokens: Tensor
    positions: Tensor  # restart at 0 with every example
    targets: Tensor  # the token that comes next where the answer is, NO_LOSS elsewhere

    def to(self, device: torch.device) -> "Pack":
        return Pack(self.tokens.to(device), self.positions.to(device), self.targets.to(device))


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """What a model server feeds the model for these messages."""
    text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def render(tokenizer: Any, example: Example) -> Rendered:
    """Fails: Unusable when the chat template refuses the roles."""
    try:
        prompt = prompt_ids(tokenizer, example.prompt)
    except Exception as error:  # templates raise what they like
        raise Unusable(
            f"example {example.id}: the base's chat template refuses it: {error}; discard it at the desk, or train a "
            "base that takes such messages"
        ) from error
    answer = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    return Rendered(example.id, [*prompt, *answer, tokenizer.eos_token_id], len(prompt))


def steps_of_epoch(
    examples: Sequence[Rendered],
    replay: Sequence[Rendered],
    *,
    seed: int,
    epoch: int,
    batch_examples: int,
    replay_share: float,
) -> list[list[Rendered]]:
    """The examples of each step. Pure in seed and epoch, so a resumed run meets the same order.

    Replayed items are drawn without repetition, going on each epoch where the last one stopped.
    """
    wanted = round(len(examples) * replay_share) if replay else 0
    lap = list(replay)
    Random(f"replay-{seed}").shuffle(lap)
    first = epoch * wanted
    drawn = [lap[(first + i) % len(lap)] for i in range(wanted)]
    order = [*examples, *drawn]
    Random(f"order-{seed}-{epoch}").shuffle(order)
    return [order[i : i + batch_examples] for i in range(0, len(order), batch_examples)]


def packed(step: Sequence[Rendered], *, pack_tokens: int, pass_tokens: int, pad: int) -> Iterator[Pack]:
    """The step's examples in as few passes as fit; one example longer than a row gets a row of its own."""
    rows = sorted(best_fit(step, max(pack_tokens, max(map(len, step)))), key=_row_length, reverse=True)
    while rows:
        count = max(1, pass_tokens // _row_length(rows[0]))
        yield _pack(rows[:count], pad)
        rows = rows[count:]


def best_fit(step: Sequence[Rendered], row_tokens: int) -> list[list[Rendered]]:
    """Best-fit decreasing: the longest first, each into the fullest row it still fits in."""
    rows: list[list[Rendered]] = []
    free: list[int] = []
    for example in sorted(step, key=len, reverse=True):
        fitting = [i for i, space in enumerate(free) if space >= len(example)]
        if fitting:
            row = min(fitting, key=free.__getitem__)
        else:
            row = len(rows)
            rows.append([])
            free.append(row_tokens)
        rows[row].append(example)
        free[row] -= len(example)
    return rows


def _row_length(row: Sequence[Rendered]) -> int:
    return sum(map(len, row))


def _pack(rows: Sequence[Sequence[Rendered]], pad: int) -> Pack:
    width = max(_row_length(row) for row in rows)
    tokens = torch.full((len(rows), width), pad)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width), NO_LOSS)
    for r, row in enumerate(rows):
        start = 0
        for example in row:
            end = start + len(example)
            ids = torch.tensor(example.ids)
            tokens[r, start:end] = ids
            positions[r, start:end] = torch.arange(len(example))
            answer = start + example.prompt_tokens
            targets[r, answer - 1 : end - 1] = ids[example.prompt_tokens :]
            start = end
        positions[r, start:] = torch.arange(width - start)  # the padding is an example of its own that nothing looks at
    return Pack(tokens, positions, targets)
