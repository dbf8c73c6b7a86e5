"""A base that cannot be served is refused at start, with what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.model_server.app import build
from services.model_server.settings import ModelServerSettings
from shared.errors import BadConfig
from tests.services.model_server.bases import write_base


def refused(folder: Path | str, **settings: Any) -> str:
    with pytest.raises(BadConfig) as caught:
        build("small", str(folder), ModelServerSettings(threads=1, device="cpu", **settings))
    return str(caught.value)


def changed(folder: Path, **facts: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    return folder


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "holds no .safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "cannot be loaded"),
        (lambda f: (f / "config.json").unlink(), "cannot be loaded"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
        (lambda f: changed(f, model_type="nonesuch", architectures=["Nonesuch"]), "cannot be loaded"),
        (lambda f: [(f / n).unlink() for n in ("tokenizer.json", "tokenizer_config.json")], "tokenizer"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], says: str) -> None:
    folder = write_base(tmp_path / "base")
    damage(folder)
    message = refused(folder)
    assert says in message
    assert "models.small" in message


def test_a_name_that_is_nowhere_says_what_a_name_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refused("nobody/nothing")
    assert "models.small.path is 'nobody/nothing', which cannot be loaded" in message
    assert "Give a folder with config.json" in message


def test_layers_that_keep_more_than_keys_and_values_are_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    folder = write_base(tmp_path / "base")
    config = MambaConfig(vocab_size=300, hidden_size=32, state_size=4, num_hidden_layers=2)
    MambaForCausalLM(config).save_pretrained(folder)
    assert "every layer is attention with its own keys and values" in refused(folder)


def test_a_longer_context_than_the_model_knows_is_refused(base_folder: Path) -> None:
    assert "knows 256 positions" in refused(base_folder, max_model_len=257)


def test_a_cache_too_small_for_anything_is_refused(base_folder: Path) -> None:
    assert "less than two tokens" in refused(base_folder, kv_cache_bytes=300)


def test_a_sliding_window_limits_the_context(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    folder = write_base(tmp_path / "base")
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=300, num_key_value_heads=2, sliding_window=32, **sizes)
    MistralForCausalLM(config).save_pretrained(folder)
    serving = build("small", str(folder), ModelServerSettings(threads=1, device="cpu"))
    assert serving.capacity.max_model_len == 32


def test_memory_limits_the_context(base_folder: Path) -> None:
    serving = build("small", str(base_folder), ModelServerSettings(threads=1, device="cpu", kv_cache_bytes=50 * 512))
    assert serving.capacity.max_model_len == 50
