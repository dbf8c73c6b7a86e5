"""Keys and values of all running rows in one buffer a layer: row i owns slot i and its columns 0 .. length_i.

Rows join, grow by one column a step and leave on their own; a hole is filled by moving the last row into it. Nothing is
shared between rows, so no key or value computed under one model version is ever read under another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

COLUMN_STEP = 64  # columns are added in steps of this many, at least doubling


@dataclass
class _Plan:
    """Where the next forward pass writes. Shared by all layers, set before the pass."""

    slots: Tensor  # (written,) slot of each new key
    columns: Tensor  # (written,) its column
    sources: tuple[Tensor, Tensor] | None  # (row, column) in the pass's own batch; None: one new column a row
    rows: int  # slots in use
    width: int  # columns that may be read
    capacity: tuple[int, int]  # (slots, columns) of the buffers


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    def __init__(self) -> None:
        super().__init__()
        self.plan: _Plan | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        assert self.plan is not None
        slots, columns = self.plan.capacity
        self.keys = key_states.new_zeros(slots, key_states.shape[1], columns, key_states.shape[3])
        self.values = value_states.new_zeros(slots, value_states.shape[1], columns, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        plan = self.plan
        assert plan is not None
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if plan.sources is None:
            self.keys[plan.slots, :, plan.columns] = key_states[:, :, 0]  # (rows, heads, head_dim)
            self.values[plan.slots, :, plan.columns] = value_states[:, :, 0]
            return self.keys[: plan.rows, :, : plan.width], self.values[: plan.rows, :, : plan.width]
        row, column = plan.sources
        self.keys[plan.slots, :, plan.columns] = key_states[row, :, column]  # (written, heads, head_dim)
        self.values[plan.slots, :, plan.columns] = value_states[row, :, column]
        return key_states, value_states

    # A pass over new prompts sees nothing but itself; decoding brings its own mask, so nobody asks then.
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def resize(self, slots: int, columns: int, kept_slots: int, kept_columns: int) -> None:
        if self.is_initialized:
            self.keys = _resized(self.keys, slots, columns, kept_slots, kept_columns)
            self.values = _resized(self.values, slots, columns, kept_slots, kept_columns)

    def move(self, source: int, target: int, columns: int) -> None:
        self.keys[target, :, :columns] = self.keys[source, :, :columns]
        self.values[target, :, :columns] = self.values[source, :, :columns]


class SlotCache:
    """`past` is what a transformers model takes as past_key_values. One thread only."""

    def __init__(self, layers: int, device: torch.device, max_slots: int, max_tokens: int) -> None:
        self.lengths: list[int] = []
        self._layers = [_SlotLayer() for _ in range(layers)]
        self.past = Cache(layers=self._layers)
        self._device = device
        self._max_slots = max_slots
        self._max_tokens = max_tokens  # slots x columns that the memory allows
        self._slots, self._columns = 0, 0

    def plan_join(self, lengths: Sequence[int]) -> None:
        """The next pass reads new prompts, padded on the left to the longest; they take the next free slots."""
        first, longest = len(self.lengths), max(lengths)
        self.lengths.extend(lengths)
        self._ensure(len(self.lengths), max(self.lengths))
        row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))  # (written,)
        column = torch.cat([torch.arange(length) for length in lengths])
        padding = torch.tensor([longest - length for length in lengths])
        sources = (row.to(self._device), (column + padding[row]).to(self._device))
        self._plan((row + first).to(self._device), column.to(self._device), sources, longest)

    def plan_decode(self) -> Tensor:
        """The next pass adds one column to every row. Returns where: (rows,), which is also each token's position."""
        width = max(self.lengths) + 1
        self._ensure(len(self.lengths), width)
        at = torch.tensor(self.lengths, device=self._device)
        self._plan(torch.arange(len(self.lengths), device=self._device), at, None, width)
        self.lengths = [length + 1 for length in self.lengths]
        return at

    def remove(self, row: int) -> None:
        """Frees the row's slot; the last row moves into it and so takes over its number."""
        last = self.lengths.pop()
        if row == len(self.lengths):
            return
        for layer in self._layers:
            layer.move(len(self.lengths), row, last)
        self.lengths[row] = last

    def bytes_held(self) -> int:
        return sum(
            t.numel() * t.element_size() for layer in self._layers for t in (layer.keys, layer.values) if t is not None
        )

    def bytes_per_token(self) -> int:
        """Known after the first pass."""
        return self.bytes_held() // max(1, self._slots * self._columns)

    def unused_layers(self) -> int:
        return sum(not layer.is_initialized for layer in self._layers)

    def _plan(self, slots: Tensor, columns: Tensor, sources: tuple[Tensor, Tensor] | None, width: int) -> None:
        plan = _Plan(slots, columns, sources, len(self.lengths), width, (self._slots, self._columns))
        for layer in self._layers:
            layer.plan = plan

    def _ensure(self, slots: int, columns: int) -> None:
        if slots <= self._slots and columns <= self._columns:
            return
        roomy_slots = min(self._max_slots, max(self._slots, 1 << (slots - 1).bit_length()))
        roomy_columns = max(self._columns, -(-columns // COLUMN_STEP) * COLUMN_STEP)
        if columns > self._columns:
            roomy_columns = max(roomy_columns, min(2 * self._columns, self._max_tokens // roomy_slots))
        if roomy_slots * roomy_columns > self._max_tokens:  # many short rows before, few long ones now
            roomy_slots, roomy_columns = slots, columns
        kept = min(self._slots, roomy_slots), min(self._columns, roomy_columns)
        for layer in self._layers:
            layer.resize(roomy_slots, roomy_columns, *kept)
        self._slots, self._columns = roomy_slots, roomy_columns


def _resized(old: Tensor, slots: int, columns: int, kept_slots: int, kept_columns: int) -> Tensor:
    new = old.new_zeros(slots, old.shape[1], columns, old.shape[3])
    new[:kept_slots, :, :kept_columns] = old[:kept_slots, :, :kept_columns]
    return new
