"""The next token of each row out of its logits.

Greedy rows take the likeliest token. The others draw by the exponential race: the largest probability / Exp(1) wins,
which is a draw from the distribution; a row with a seed has its own generator, so neighbours do not change its draws.
Log-probabilities are those of the model, before temperature and penalties.
"""

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from services.model_server.sequence import Logprob, Sequence

LOWEST_LOGPROB = -9999.0  # JSON has no -inf


def pick(logits: Tensor, rows: Rows[Sequence]) -> list[tuple[int, Logprob | None] | None]:
    """logits: (rows, vocabulary). None for a row whose logits are not numbers."""
    penalised = _penalised(logits, rows)
    best, greedy = penalised.max(dim=-1)  # NaN wins a max, so it shows here
    chosen = greedy
    drawing = [i for i, row in enumerate(rows) if not row.sampling.greedy]
    if drawing:
        drawn = _draw(penalised[drawing].float(), [rows[i] for i in drawing])
        chosen = greedy.index_copy(0, torch.tensor(drawing, device=logits.device), drawn)
    asked = [i for i, row in enumerate(rows) if row.sampling.logprobs is not None]
    logprobs = dict(zip(asked, _logprobs(logits[asked].float(), chosen[asked], [rows[i] for i in asked]), strict=True))
    sound = (~best.isnan()).tolist()
    return [(token, logprobs.get(i)) if sound[i] else None for i, token in enumerate(chosen.tolist())]


def _penalised(logits: Tensor, rows: Rows[Sequence]) -> Tensor:
    for i, row in enumerate(rows):
        frequency, presence = row.sampling.frequency_penalty, row.sampling.presence_penalty
        if not row.tokens or not (frequency or presence):
            continue
        seen = torch.tensor(row.tokens, device=logits.device)
        counts = torch.bincount(seen, minlength=logits.shape[-1])
        changed = logits[i] - frequency * counts - presence * (counts > 0)
        logits = logits.index_copy(0, torch.tensor([i], device=logits.device), changed[None].to(logits.dtype))
    return logits


def _draw(logits: Tensor, rows: Rows[Sequence]) -> Tensor:
    temperature = torch.tensor([row.sampling.temperature for row in rows], device=logits.device)
    logits = logits / temperature[:, None]
    if any(row.sampling.top_p < 1 or row.sampling.top_k for row in rows):
        logits = _truncated(logits, rows)
    race = torch.empty_like(logits).exponential_()
    for i, row in enumerate(rows):
        if row.sampling.seed is not None:
            if row.generator is None:
                row.generator = torch.Generator(logits.device).manual_seed(row.sampling.seed)
            race[i].exponential_(generator=row.generator)
    return logits.softmax(-1).div_(race).argmax(-1)


def _truncated(logits: Tensor, rows: Rows[Sequence]) -> Tensor:
    """-inf outside each row's top_k and outside its smallest set of tokens that holds top_p of the probability."""
    vocabulary = logits.shape[-1]
    top_k = torch.tensor([row.sampling.top_k or vocabulary for row in rows], device=logits.device)
    top_p = torch.tensor([row.sampling.top_p for row in rows], device=logits.device)
    ordered, order = logits.sort(dim=-1, descending=True)
    ordered = ordered.masked_fill(torch.arange(vocabulary, device=logits.device) >= top_k[:, None], -torch.inf)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # of the likelier tokens: 0 for the first, which always stays
    ordered = ordered.masked_fill(before >= top_p[:, None], -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ordered)


def _logprobs(logits: Tensor, chosen: Tensor, rows: Rows[Sequence]) -> list[Logprob]:
    if not rows:
        return []
    logprobs = logits.log_softmax(-1)
    count = max(row.sampling.logprobs or 0 for row in rows)
    values, tokens = logprobs.topk(min(count, logits.shape[-1]), dim=-1)
    of_chosen = logprobs.gather(-1, chosen[:, None])[:, 0].tolist()
    found = zip(rows, chosen.tolist(), of_chosen, tokens.tolist(), values.tolist(), strict=True)
    return [
        _logprob(row.sampling.logprobs or 0, token, own, list(zip(t, v, strict=True)))
        for row, token, own, t, v in found
    ]


def _logprob(asked: int, token: int, own: float, likeliest: list[tuple[int, float]]) -> Logprob:
    """The chosen token first, as vLLM lists it, then the likeliest others."""
    listed = [(token, own), *((t, v) for t, v in likeliest if t != token)]
    return Logprob(_finite(own), [(t, _finite(v)) for t, v in listed[:asked]])


def _finite(value: float) -> float:
    return value if value > LOWEST_LOGPROB else LOWEST_LOGPROB  # also for NaN
