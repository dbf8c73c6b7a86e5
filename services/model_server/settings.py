"""The model server's own settings: how much it may hold and do at once."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import EnvironmentSettings


class ModelServerSettings(EnvironmentSettings):
    model_config = SettingsConfigDict(env_prefix="RATCHET_MODEL_SERVER_", frozen=True, extra="ignore")

    model: str = Field("", description="which name of [models] to serve; empty: the first one in the file")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU when there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of weights and cache; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    threads: int = Field(0, ge=0, description="CPU threads of one forward pass; 0: one for a small model, else all")
    max_model_len: int = Field(0, ge=0, description="prompt and answer in tokens; 0: what model and memory allow")
    max_batch: int = Field(32, ge=1, le=1024, description="answers generated at the same time")
    max_queue: int = Field(256, ge=1, description="answers that may wait for a place; beyond: 503")
    prefill_tokens: int = Field(4096, ge=1, description="prompt tokens read between two decoding steps")
    kv_cache_bytes: int = Field(0, ge=0, description="keys and values at most; 0: 1 GiB, or 80 % of free GPU memory")
    max_adapters: int = Field(16, ge=1, description="adapters loaded at the same time")
    max_lora_rank: int = Field(16, ge=1, description="highest rank of an adapter")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="largest request body; beyond: 413")
