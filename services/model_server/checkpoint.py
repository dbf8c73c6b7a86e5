"""The base model that is served: weights from safetensors, its tokenizer, and the limits that both set.

Fails: BadConfig at start with what is wrong and what to do: no such folder, pickled weights only, an architecture whose
       state is more than keys and values, no fast tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from services.model_server.settings import ModelServerSettings
from shared.errors import BadConfig

CACHE_BYTES_ON_CPU = 2**30
COMPOSED_CHARACTERS = 4  # that a normalizer may make one of: a letter and its marks
CACHE_SHARE_OF_FREE_GPU_MEMORY = 0.8
SMALL_MODEL_PARAMETERS = 20_000_000  # below, threads cost more than they bring


@dataclass(frozen=True)
class Checkpoint:
    name: str  # what requests call it
    root: str  # where it was read
    model: Any
    tokenizer: Any
    max_positions: int
    end_tokens: frozenset[int]
    vocabulary: int

    @property
    def layers(self) -> int:
        return int(self.model.config.get_text_config().num_hidden_layers)

    @cached_property
    def most_characters(self) -> int | None:
        """That one token can stand for; None where the tokenizer may drop text, so that nobody can say."""
        tokenizer = self.tokenizer.backend_tokenizer
        keeps_all = getattr(tokenizer.model, "byte_fallback", False) or "ByteLevel" in repr(tokenizer.pre_tokenizer)
        swallows = any(token.lstrip or token.rstrip for token in tokenizer.get_added_tokens_decoder().values())
        if swallows or not keeps_all:
            return None
        longest = max(map(len, tokenizer.get_vocab()))
        return longest if tokenizer.normalizer is None else longest * COMPOSED_CHARACTERS

    def encode(self, text: str, *, special: bool) -> list[int]:
        """special: with the tokens that begin a text; a rendered chat brings its own."""
        tokens: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=special).ids
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.backend_tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def load(name: str, path: str, settings: ModelServerSettings) -> Checkpoint:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it breaks the log's lines
    _check_files(name, path)
    device = _device(settings)
    dtype = _dtype(settings, device)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # transformers raises anything: OSError, ValueError, KeyError, SafetensorError
        raise BadConfig(
            f"models.{name}.path is {path!r}, which cannot be loaded: {error}\n"
            "Give a folder with config.json, *.safetensors and tokenizer.json, or a hub name this machine can reach."
        ) from error
    if not tokenizer.is_fast:
        raise BadConfig(f"models.{name}: {path} has no fast tokenizer (tokenizer.json), which this server needs")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    model.to(device).eval().requires_grad_(False)
    _use_threads(settings.threads, model.num_parameters())
    config = model.config.get_text_config()
    return Checkpoint(
        name, path, model, tokenizer, _max_positions(config), _end_tokens(model, tokenizer), config.vocab_size
    )


def cache_budget_bytes(settings: ModelServerSettings, device: torch.device) -> int:
    if settings.kv_cache_bytes:
        return settings.kv_cache_bytes
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return int(free * CACHE_SHARE_OF_FREE_GPU_MEMORY)
    return CACHE_BYTES_ON_CPU


def _check_files(name: str, path: str) -> None:
    folder = Path(path)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise BadConfig(f"models.{name}.path is {path!r}, which holds no .safetensors file; other weights are not read")


def _device(settings: ModelServerSettings) -> torch.device:
    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise BadConfig("RATCHET_MODEL_SERVER_DEVICE is 'cuda', but torch finds no GPU here; use 'cpu' or 'auto'")
    return torch.device("cuda" if there and settings.device != "cpu" else "cpu")


def _dtype(settings: ModelServerSettings, device: torch.device) -> torch.dtype:
    if settings.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return dtype


def _use_threads(threads: int, parameters: int) -> None:
    if threads:
        torch.set_num_threads(threads)
    elif parameters < SMALL_MODEL_PARAMETERS:
        torch.set_num_threads(1)


def _max_positions(config: Any) -> int:
    """Positions the model knows; not past a sliding window, within which sliding and full attention are the same."""
    limit = int(getattr(config, "max_position_embeddings", 0) or 2048)
    kinds = getattr(config, "layer_types", None)
    slides = kinds is None or any("sliding" in kind for kind in kinds)
    window = getattr(config, "sliding_window", None)
    if window and slides and getattr(config, "use_sliding_window", True):
        limit = min(limit, int(window))
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk and kinds is not None and any("chunked" in kind for kind in kinds):
        limit = min(limit, int(chunk))
    return limit


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    found: set[int] = set()
    for ends in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        found.update([ends] if isinstance(ends, int) else ends or ())
    return frozenset(found)
