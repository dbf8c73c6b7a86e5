"""LoRA adapters: read from PEFT's files, checked against the base before anything changes, held by name.

Reads: adapter_config.json and adapter_model.safetensors, never a pickled file. If a manifest lies in the folder or in
       the one above, the files must be those it names.
Twice: a name that is held is refused, unless load_inplace is asked for; the old weights then end with their last
       sequence.
Fails: Refusal with what is wrong; what was held before stays as it was.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from services.model_server.lora import LoraLinear
from services.model_server.metrics import ADAPTERS_LOADED
from services.model_server.refusals import not_found, user_error
from shared import artifacts
from shared.errors import ArtifactInvalid

log = logging.getLogger(__name__)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


@dataclass(eq=False, frozen=True)
class Adapter:
    """weights: layer name -> (A (rank, in), B transposed and scaled (rank, out)). Never changed once made."""

    name: str
    path: str
    rank: int
    weights: Mapping[str, tuple[Tensor, Tensor]]
    created: int = field(default_factory=lambda: int(time.time()))


class Adapters:
    """Those that can be asked for by name. Safe to use from several threads."""

    def __init__(self, base_name: str, layers: Mapping[str, LoraLinear], *, max_adapters: int, max_rank: int) -> None:
        self._base_name = base_name
        self.layers = layers
        self._max_adapters = max_adapters
        self._max_rank = max_rank
        self._held: dict[str, Adapter] = {}
        self._loading = threading.Lock()

    def get(self, name: str) -> Adapter | None:
        return self._held.get(name)

    def all(self) -> list[Adapter]:
        return list(self._held.values())

    def load(self, name: str, path: str, *, in_place: bool) -> None:
        if not name or not path:
            raise user_error("Both 'lora_name' and 'lora_path' must be provided.")
        if name == self._base_name:
            raise user_error(f"The lora adapter '{name}' conflicts with a served base model.")
        with self._loading:  # two loads of one name: the second finds the first's work
            if name in self._held and not in_place:
                raise user_error(
                    f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
                    "set 'load_inplace' to True."
                )
            if name not in self._held and len(self._held) >= self._max_adapters:
                raise user_error(
                    f"{len(self._held)} adapters are loaded, as many as this server holds; unload one, or raise "
                    "RATCHET_MODEL_SERVER_MAX_ADAPTERS."
                )
            adapter = self._read(name, path)
            self._held = {**self._held, name: adapter}
        ADAPTERS_LOADED.set(len(self._held))
        log.info("loaded adapter %s from %s: rank %d, %d layers", name, path, adapter.rank, len(adapter.weights))

    def unload(self, name: str) -> None:
        with self._loading:
            if name not in self._held:
                raise not_found(f"The lora adapter '{name}' cannot be found.")
            self._held = {held: adapter for held, adapter in self._held.items() if held != name}
        ADAPTERS_LOADED.set(len(self._held))
        log.info("unloaded adapter %s", name)

    def _read(self, name: str, path: str) -> Adapter:
        try:
            folder = artifacts.path_of(path) if path.startswith("file:") else Path(path)
            is_adapter = (folder / CONFIG).is_file()
        except (ArtifactInvalid, OSError, ValueError):
            is_adapter = False
        if not is_adapter:
            raise not_found(f"Loading lora {name} failed: No adapter found for {path}")
        try:
            _check_manifest(folder)
            rank, scaling = _read_config(folder / CONFIG, self._max_rank)
            return Adapter(name, path, rank, self._read_weights(folder / WEIGHTS, rank, scaling))
        except (ArtifactInvalid, _Unfit) as error:
            raise user_error(f"Loading lora {name} failed: {error}") from error

    def _read_weights(self, file: Path, rank: int, scaling: float) -> dict[str, tuple[Tensor, Tensor]]:
        if not file.is_file():
            raise _Unfit(f"{file.parent} has no {WEIGHTS}; only safetensors are read")
        try:
            with safe_open(file, framework="pt") as tensors:
                named = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _Unfit(f"{file} cannot be read as safetensors: {error}") from error
        layers = sorted({_layer_of(key) for key in named})
        if not layers:
            raise _Unfit(f"{file} holds no tensors")
        return {layer: self._pair(layer, named, rank, scaling) for layer in layers}

    def _pair(self, layer: str, named: Mapping[str, Tensor], rank: int, scaling: float) -> tuple[Tensor, Tensor]:
        linear = self.layers.get(layer)
        if linear is None:
            raise _Unfit(f"it adapts {layer}, which is no linear layer of {self._base_name}")
        wanted = {"A": (rank, linear.in_features), "B": (linear.out_features, rank)}
        found = {side: named.get(f"{PREFIX}{layer}.lora_{side}.weight") for side in wanted}
        for side, tensor in found.items():
            if tensor is None:
                raise _Unfit(f"{layer} has no lora_{side}")
            if tuple(tensor.shape) != wanted[side]:
                raise _Unfit(f"lora_{side} of {layer} is {tuple(tensor.shape)}, but {wanted[side]} fits this base")
        down, up = found["A"], found["B"]
        assert down is not None
        assert up is not None
        weight = linear.weight
        pair = (
            down.to(weight.device, weight.dtype).contiguous(),
            (up.float() * scaling).t().to(weight.device, weight.dtype).contiguous(),
        )
        if not all(bool(torch.isfinite(tensor).all()) for tensor in pair):
            raise _Unfit(f"{layer} holds values that are not finite numbers")
        return pair


class _Unfit(Exception):
    """Why these files cannot be served on this base."""


def _check_manifest(folder: Path) -> None:
    for sealed in (folder, folder.parent):
        if (sealed / artifacts.MANIFEST).exists():
            artifacts.verify(sealed)
            return


def _read_config(file: Path, max_rank: int) -> tuple[int, float]:
    """(rank, scaling), after everything in it that would change the answer was looked at."""
    try:
        config: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _Unfit(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _Unfit(f"{file} does not describe a LoRA adapter (peft_type LORA)")
    rank, alpha = config.get("r"), config.get("lora_alpha", 8)
    if type(rank) is not int or rank < 1 or type(alpha) not in (int, float) or not math.isfinite(alpha):
        raise _Unfit(
            f"{file}: r should be a whole number above 0 and lora_alpha a number; they are {rank!r}, {alpha!r}"
        )
    if rank > max_rank:
        raise _Unfit(f"LoRA rank {rank} is greater than max_lora_rank {max_rank}.")
    for key in _UNSERVED:
        if config.get(key):
            raise _Unfit(f"{file}: {key} is {config[key]!r}, which is not served here; train without it")
    if config.get("bias", "none") != "none":
        raise _Unfit(f"{file}: bias is {config['bias']!r}; only adapters without trained biases are served here")
    if str(config.get("init_lora_weights")).startswith(("pissa", "olora", "corda", "loftq", "lora_ga")):
        raise _Unfit(
            f"{file}: init_lora_weights {config['init_lora_weights']!r} changes the base; convert the adapter first"
        )
    return rank, alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


_UNSERVED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
)


def _layer_of(key: str) -> str:
    """`base_model.model.<layer>.lora_A.weight` -> `<layer>`."""
    for side in (".lora_A.weight", ".lora_B.weight"):
        if key.startswith(PREFIX) and key.endswith(side):
            return key[len(PREFIX) : -len(side)]
    raise _Unfit(f"tensor {key} is no part of a plain LoRA adapter")
