"""The running batch: every row one answer, all rows one forward pass, whatever their adapters and lengths.

Rows join (their prompts are read in one pass of their own), advance together by one token, and leave. One thread only.
Greedy answers do not depend on the company a row keeps, except for the rounding of differently shaped matrix products.
"""

from collections.abc import Sequence as Rows
from typing import Any

import torch
from torch import Tensor

from services.model_server.cache import SlotCache
from services.model_server.lora import LoraSwitch
from services.model_server.sequence import Sequence


class Batch:
    def __init__(self, model: Any, switch: LoraSwitch, cache: SlotCache) -> None:
        self._model = model
        self._switch = switch
        self._cache = cache
        self._device: torch.device = model.device
        self._lowest = torch.finfo(model.dtype).min
        self._pointed: list[Sequence] = []  # rows that the switch points at, in their order
        self.rows: list[Sequence] = []

    @property
    def cache_bytes(self) -> int:
        return self._cache.bytes_held()

    @torch.inference_mode()
    def join(self, joining: Rows[Sequence]) -> Tensor:
        """Reads the prompts; returns the logits of each one's next token: (joining, vocabulary)."""
        lengths = [len(row.prompt) for row in joining]
        longest = max(lengths)
        tokens = torch.tensor([[0] * (longest - len(row.prompt)) + row.prompt for row in joining])
        padding = torch.tensor([longest - length for length in lengths])  # on the left
        positions = (torch.arange(longest)[None, :] - padding[:, None]).clamp_(min=0)
        everyone = [row.adapter for row in (*self.rows, *joining)]
        self._pointed = []
        self._switch.point([row.adapter for row in joining], everyone)
        self._cache.plan_join(lengths)
        self.rows.extend(joining)
        # Without padding the model masks by itself, which lets it use kernels that never build the mask.
        mask = self._prompt_mask(padding, longest) if int(padding.max()) else None
        return self._forward(tokens, positions, mask)

    @torch.inference_mode()
    def step(self) -> Tensor:
        """Feeds each row's newest token; returns the logits of the next ones: (rows, vocabulary)."""
        if self._pointed != self.rows:
            adapters = [row.adapter for row in self.rows]
            self._switch.point(adapters, adapters)
            self._pointed = list(self.rows)
        at = self._cache.plan_decode()  # (rows,)
        tokens = torch.tensor([[row.tokens[-1]] for row in self.rows])
        unseen = torch.arange(max(self._cache.lengths), device=self._device)[None, :] > at[:, None]
        mask = self._additive(unseen[:, None, None, :])  # (rows, 1, 1, columns)
        return self._forward(tokens, at[:, None], mask)

    @torch.inference_mode()
    def leave(self, row: Sequence) -> None:
        """Its place is taken by the last row."""
        number = self.rows.index(row)
        self._cache.remove(number)
        last = self.rows.pop()
        if number < len(self.rows):
            self.rows[number] = last

    def rest(self) -> None:
        """Nothing runs: lets go of adapters that only this batch still holds."""
        self._pointed = []
        self._switch.point([], [])

    def _forward(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        out = self._model(
            input_ids=tokens.to(self._device),
            position_ids=positions.to(self._device),
            attention_mask=mask,
            past_key_values=self._cache.past,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits
        return logits[:, -1]

    def _prompt_mask(self, padding: Tensor, longest: int) -> Tensor:
        column = torch.arange(longest)
        later = column[None, None, :] > column[None, :, None]
        unseen = later | (column[None, None, :] < padding[:, None, None])
        return self._additive(unseen[:, None].to(self._device))  # (joining, 1, seq, seq)

    def _additive(self, unseen: Tensor) -> Tensor:
        """Added to attention scores: works for every attention implementation, and a row of padding stays finite."""
        mask = torch.zeros(unseen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(unseen, self._lowest)
