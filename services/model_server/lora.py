"""LoRA for rows of different adapters in one forward pass.

The A matrices of all adapters in the batch are stacked into one, and so are the B matrices; between the two products a
mask keeps, in each row, the columns of its own adapter. Two more products a layer, however many adapters are in the
batch, and one that overflows cannot reach another's row. A batch of one adapter needs no mask, a bare base no products.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

if TYPE_CHECKING:
    from services.model_server.adapters import Adapter


class LoraLinear(nn.Linear):
    """A linear layer of the base with what the switch adds to it."""

    switch: "LoraSwitch"
    down: Tensor | None = None  # (columns, in)
    up: Tensor | None = None  # (columns, out), scaled

    def forward(self, input: Tensor) -> Tensor:
        out = F.linear(input, self.weight, self.bias)
        if not self.switch.active or self.down is None or self.up is None:
            return out
        inner = F.linear(input, self.down)  # (rows, seq, columns)
        if self.switch.others is not None:
            inner = inner.masked_fill(self.switch.others, 0)
        out.view(-1, out.shape[-1]).addmm_(inner.view(-1, inner.shape[-1]), self.up)
        return out


class LoraSwitch:
    """Decides which adapter each row of the next forward pass goes through. Inference only; one thread."""

    def __init__(self, model: nn.Module, head: nn.Module | None) -> None:
        self.active = False
        self.others: Tensor | None = None  # (rows, 1, columns) bool: True where a column is not the row's own
        self.layers: dict[str, LoraLinear] = {}
        self._members: tuple[Adapter, ...] = ()
        for name, module in list(model.named_modules()):
            if type(module) is nn.Linear and module is not head:
                self.layers[name] = _replaced(model, name, module, self)

    def point(self, rows: Sequence["Adapter | None"], alive: Sequence["Adapter | None"]) -> None:
        """rows: of the next pass. alive: all that will take part in some pass soon; at least those of rows."""
        used = {adapter for adapter in rows if adapter is not None}
        self.active = bool(used)
        if not used:
            if not any(alive):
                self._stack(())
            return
        if not used.issubset(self._members):
            self._stack(tuple(dict.fromkeys(adapter for adapter in (*rows, *alive) if adapter is not None)))
        if len(self._members) == 1 and None not in rows:
            self.others = None
            return
        self.others = self._mask(rows)

    def _mask(self, rows: Sequence["Adapter | None"]) -> Tensor:
        number = {adapter: i for i, adapter in enumerate(self._members)}
        widths = torch.tensor([adapter.rank for adapter in self._members])
        owner = torch.repeat_interleave(torch.arange(len(widths)), widths)  # (columns,)
        wanted = torch.tensor([-1 if adapter is None else number[adapter] for adapter in rows])
        mask = (wanted[:, None] != owner[None, :])[:, None, :]  # (rows, 1, columns)
        return mask.to(next(iter(self.layers.values())).weight.device)

    def _stack(self, members: "tuple[Adapter, ...]") -> None:
        if members == self._members:
            return
        self._members = members
        for name, layer in self.layers.items():
            if not any(name in adapter.weights for adapter in members):
                layer.down = layer.up = None
                continue
            pairs = [adapter.weights.get(name) or _silent(layer, adapter.rank) for adapter in members]
            layer.down = torch.cat([down for down, _ in pairs])
            layer.up = torch.cat([up for _, up in pairs])


def _replaced(model: nn.Module, name: str, linear: nn.Linear, switch: LoraSwitch) -> LoraLinear:
    """The same parameters in a layer that adapters can join."""
    layer = LoraLinear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
    layer.weight, layer.bias = linear.weight, linear.bias
    layer.switch = switch
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)
    return layer


def _silent(layer: LoraLinear, rank: int) -> tuple[Tensor, Tensor]:
    """For an adapter that leaves this layer as it is."""
    return layer.weight.new_zeros(rank, layer.in_features), layer.weight.new_zeros(rank, layer.out_features)
