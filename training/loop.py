"""The training loop: steps of examples in, an adapter that has learned out; nothing here reads or writes a file.

One flat narrative. It yields after every step, so whoever runs it may log, checkpoint or stop there.
Fails: Unusable when the loss is no longer a number.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting

from shared.errors import Unusable
from training.data import Rendered, packed
from training.objective import answer_loss_sum, output_is_plain
from training.preset import Preset


@dataclass(frozen=True, slots=True)
class StepDone:
    step: int  # steps done so far, from 1
    loss: float  # mean over the step's answer tokens
    learning_rate: float
    tokens: int  # padding not counted
    seconds: float


def new_optimizer(model: Any, preset: Preset) -> torch.optim.AdamW:
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        learning,
        lr=preset.learning_rate_for(model.config.hidden_size),
        weight_decay=preset.weight_decay,
        fused=learning[0].is_cuda,
    )


def learn(
    model: Any,
    optimizer: torch.optim.Optimizer,
    steps: Sequence[Sequence[Rendered]],
    preset: Preset,
    *,
    first: int = 0,
    pad: int,
) -> Iterator[StepDone]:
    """Steps `first` to the last. The learning rate depends on the step alone, so a resumed run goes on as it was."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = learning[0].device
    peak = preset.learning_rate_for(model.config.hidden_size)
    plain_output: bool | None = None
    model.train()
    for step in range(first, len(steps)):
        began = time.perf_counter()
        rate = peak * schedule(step, len(steps), preset.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        answer_tokens = sum(len(example) - example.prompt_tokens for example in steps[step])
        loss_sum = torch.zeros((), device=device)
        for pack in packed(steps[step], pack_tokens=preset.pack_tokens, pass_tokens=preset.pass_tokens, pad=pad):
            pack = pack.to(device)  # (rows, seq)
            with _precision(model, device):
                if plain_output is None:
                    plain_output = output_is_plain(model.eval(), pack)
                    model.train()
                pass_loss, _ = answer_loss_sum(model, pack, plain_output=plain_output)
            (pass_loss / answer_tokens).backward()  # type: ignore[no-untyped-call]
            loss_sum += pass_loss.detach()
        torch.nn.utils.clip_grad_norm_(learning, preset.clip)
        loss = loss_sum.item() / answer_tokens
        if not math.isfinite(loss):  # before the optimizer writes it into the weights
            raise Unusable(
                f"the loss became {loss} at step {step + 1}, at a learning rate of {rate:.2g}; "
                "lower it with --set learning_rate=..., and look for damaged examples"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield StepDone(step + 1, loss, rate, sum(map(len, steps[step])), time.perf_counter() - began)


@torch.no_grad()
def mean_loss(model: Any, examples: Sequence[Rendered], preset: Preset, *, pad: int) -> float:
    """Mean loss over the answer tokens of examples that are not trained on."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    total, tokens = 0.0, 0
    for pack in packed(examples, pack_tokens=preset.pack_tokens, pass_tokens=preset.pass_tokens, pad=pad):
        with _precision(model, device):
            loss, count = answer_loss_sum(model, pack.to(device), plain_output=False)
        total, tokens = total + loss.item(), tokens + count
    model.train(was_training)
    return total / tokens


@contextmanager
def _precision(model: Any, device: torch.device) -> Iterator[None]:
    """bf16 on a GPU. Autocast casts the inputs by itself; copies that PEFT makes in fp32 would only cost time."""
    on_gpu = device.type == "cuda"
    with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu), disable_input_dtype_casting(model, active=on_gpu):
        yield


def schedule(step: int, steps: int, warmup_share: float) -> float:
    """The share of the peak rate at a step from 0: linear warm-up, then a cosine down to nearly zero."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))
