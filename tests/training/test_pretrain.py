import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from shared import artifacts
from training.examples import read_items
from training.model import resolve_base
from training.tiny import bundle, pretrain
from training.tiny.tokenizer import train_tokenizer
from training.tiny.world import conversation

SMALL = pretrain.Recipe(
    layers=1, width=32, heads=2, mlp_width=32, vocabulary=320, batch_conversations=2, warmup_steps=2
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "RECIPE", SMALL)
    monkeypatch.setattr(pretrain, "POOL_BATCHES", 3)


def small_tokenizer() -> pretrain.PreTrainedTokenizerFast:
    texts = [m["content"] for i in range(50) for m in conversation(str(i), want_held_out=False)[1]]
    return train_tokenizer(texts, 320, 1024)


def trained(out: Path, steps: int, checkpoint_every: int) -> pretrain.LlamaForCausalLM:
    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    model = pretrain.new_model(tokenizer)
    pretrain.pretrain(model, tokenizer, 0, steps, out, checkpoint_every, False)
    return model


def test_a_pretraining_that_died_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 9, 100)
    trained(tmp_path / "died", 9, 4)  # leaves checkpoints 4 and 8, as a process killed before the end would
    last = tmp_path / "died.work" / "step-000008" / "weights.safetensors"
    last.write_bytes(b"half")
    again = trained(tmp_path / "died", 9, 100)  # from checkpoint 4, over the turns into the next cycles at 4 and 7
    pairs = zip(whole.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_rate_rises_and_falls_in_each_cycle() -> None:
    rates = [pretrain.schedule(step, 80) for step in range(80)]
    assert pretrain.turns(80) == [0, 40, 60]
    assert [max(rates[a:b]) for a, b in ((0, 40), (40, 60), (60, 80))] == pytest.approx([1.0, 0.4, 0.25])
    assert max(rates[39], rates[59], rates[79]) < 0.01


def test_only_what_the_assistant_says_is_learned() -> None:
    tokenizer = small_tokenizer()
    _, chat = conversation("x", want_held_out=False, turns=3)
    ids, answered = pretrain.encode(tokenizer, chat)
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(chat, tokenize=False)
    said = [message["content"] + tokenizer.eos_token for message in chat if message["role"] == "assistant"]
    assert tokenizer.decode([i for i, mine in zip(ids, answered, strict=True) if mine]) == "".join(said)


def test_the_folder_is_sealed_with_recipe_suite_and_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SUITE_ITEMS", 4)
    monkeypatch.setattr(bundle, "REPLAY_ITEMS", 5)
    tokenizer = small_tokenizer()
    bundle.write_base(tmp_path / "base", pretrain.new_model(tokenizer), tokenizer, 0, {"recipe": {"layers": 1}})
    facts = artifacts.verify(tmp_path / "base", "base")
    assert (facts["recipe"], facts["general_suite_exact"]) == ({"layers": 1}, 0.0)
    assert len(read_items(tmp_path / "base" / "general_suite.jsonl")) == 4
    assert len(read_items(tmp_path / "base" / "general_replay.jsonl")) == 5
    config = (tmp_path / "base" / "tokenizer_config.json").read_text()
    assert '"chat_template"' in config
    assert "PreTrainedTokenizerFast" in config


def test_the_committed_base_is_whole_and_came_from_this_recipe() -> None:
    manifest = artifacts.verify(Path(resolve_base("builtin:tiny")), "base")
    recipe = json.loads(json.dumps(asdict(pretrain.Recipe())))
    assert (manifest["recipe"], manifest["seed"]) == (recipe, 0)
    assert manifest["general_suite_exact"] >= 0.97
    assert manifest["files"]["model.safetensors"]["bytes"] <= 16 * 2**20
