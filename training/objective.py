"""The loss: cross-entropy on answer tokens, with the output layer run on those positions only.

The output layer is the widest of a small model; running it on the supervised third of the positions is half of the
speed (facts of the design: 800 -> 1,190 tokens a second on CPU).
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from training.data import NO_LOSS, Pack


def answer_loss_sum(model: Any, pack: Pack, *, plain_output: bool) -> tuple[Tensor, int]:
    """Summed loss over the answer tokens of a pass, and their number. model: bare, or with adapters (PEFT).

    plain_output: logits are the output layer of the last hidden states and nothing else (`output_is_plain`).
    """
    supervised = pack.targets != NO_LOSS  # (rows, seq) bool
    if plain_output:
        hidden = _decoder(model)(input_ids=pack.tokens, position_ids=pack.positions, use_cache=False)[0]
        logits = _causal(model).get_output_embeddings()(hidden[supervised])  # (answer tokens, vocabulary)
    else:
        logits = model(input_ids=pack.tokens, position_ids=pack.positions, use_cache=False).logits[supervised]
    loss = F.cross_entropy(logits.float(), pack.targets[supervised], reduction="sum")
    return loss, int(supervised.sum())


@torch.no_grad()
def output_is_plain(model: Any, pack: Pack) -> bool:
    """Whether the short way gives the model's own logits: some models scale or cap them afterwards."""
    tokens, positions = pack.tokens[:1, :16], pack.positions[:1, :16]
    hidden = _decoder(model)(input_ids=tokens, position_ids=positions, use_cache=False)[0]
    short = _causal(model).get_output_embeddings()(hidden)
    own = model(input_ids=tokens, position_ids=positions, use_cache=False).logits
    return bool(torch.allclose(short.float(), own.float(), rtol=1e-2, atol=1e-2))


def _causal(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _decoder(model: Any) -> Any:
    return _causal(model).base_model
