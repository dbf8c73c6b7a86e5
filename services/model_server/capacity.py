"""How long a prompt and its answer may be, and how many tokens of cache there are for all of them together.

The model is run once on two tokens: that proves it can be served here (BadConfig otherwise), shows what a token costs
in memory, and warms it up.
"""

from dataclasses import dataclass

from services.model_server.batch import Batch
from services.model_server.cache import SlotCache
from services.model_server.checkpoint import Checkpoint
from services.model_server.lora import LoraSwitch
from services.model_server.sequence import Sampling, Sequence
from services.model_server.settings import ModelServerSettings
from services.model_server.text import GrowingText
from shared.errors import BadConfig


@dataclass(frozen=True)
class Capacity:
    max_model_len: int
    cache_tokens: int


def measure(base: Checkpoint, switch: LoraSwitch, settings: ModelServerSettings, budget_bytes: int) -> Capacity:
    cache_tokens = budget_bytes // _bytes_per_token(base, switch)
    longest = min(base.max_positions, cache_tokens)
    if longest < 2:
        raise BadConfig(
            f"RATCHET_MODEL_SERVER_KV_CACHE_BYTES leaves {budget_bytes} bytes, less than two tokens of {base.name} need"
        )
    if settings.max_model_len > longest:
        raise BadConfig(
            f"RATCHET_MODEL_SERVER_MAX_MODEL_LEN is {settings.max_model_len}; {base.name} knows {base.max_positions} "
            f"positions and the cache holds {cache_tokens} tokens, so {longest} is the most"
        )
    return Capacity(settings.max_model_len or longest, cache_tokens)


def _bytes_per_token(base: Checkpoint, switch: LoraSwitch) -> int:
    cache = SlotCache(base.layers, base.model.device, max_slots=1, max_tokens=64)
    batch = Batch(base.model, switch, cache)
    row = Sequence([0, 0], Sampling(max_tokens=2), None, GrowingText(base.decode, []), lambda _sequence, _news: None)
    try:
        batch.join([row])
        row.tokens.append(0)
        batch.step()
    except Exception as error:
        raise BadConfig(f"{base.root} cannot be served: {_WHY} ({type(error).__name__}: {error})") from error
    if cache.unused_layers():
        raise BadConfig(f"{base.root} cannot be served: {_WHY} ({cache.unused_layers()} layers keep something else)")
    return cache.bytes_per_token()


_WHY = "this server needs a decoder whose every layer is attention with its own keys and values"
