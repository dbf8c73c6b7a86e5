"""Families of models answer as under `generate`: biases, experts, soft caps, windows, learned positions."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.services.model_server.bases import greedy, write_base
from tests.services.model_server.conftest import Start

SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3,
    "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "vocab_size": 300, "initializer_range": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "facts", "context"),
    [
        ("Qwen2", SIZES, 256),
        ("Qwen3", SIZES | {"head_dim": 16}, 256),
        ("Phi3", SIZES, 256),
        ("Mistral", SIZES | {"sliding_window": 40}, 40),
        ("Gemma2", SIZES | {"head_dim": 16, "sliding_window": 40}, 40),
        ("Mixtral", SIZES | {"num_local_experts": 4}, 256),
        ("GPT2", GPT2 | {"bos_token_id": 0, "eos_token_id": 0}, 256),
    ],
)
def test_a_family_answers_as_under_generate(
    start: Start, tmp_path: Path, family: str, facts: dict[str, Any], context: int
) -> None:
    torch.manual_seed(0)
    folder = write_base(tmp_path / family)
    kind = getattr(transformers, f"{family}LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM")
    kind(getattr(transformers, f"{family}Config")(**facts)).save_pretrained(folder)
    running = start(folder)
    assert running.serving.capacity.max_model_len == context
    chance = random.Random(1)
    prompts = [[chance.randrange(4, 300) for _ in range(chance.randrange(1, 25))] for _ in range(5)]
    asked = running.ask(*(running.sequence(prompt, max_tokens=12) for prompt in prompts))
    alone = kind.from_pretrained(folder).eval()
    assert [s.tokens for s in asked] == [greedy(alone, prompt, 12) for prompt in prompts]
