"""Small random bases and adapters for tests: real files, a real tokenizer, no training."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'nobody' %}{{ raise_exception('nobody may not speak') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = ["hello there, how is the printer today?", "Grüße aus Köln, 東京 und Ελλάδα 😀", '{"queue": "net", "n": 17}']


def write_tokenizer(folder: Path, positions: int) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        chat_template=TEMPLATE,
        model_max_length=positions,
    ).save_pretrained(folder)


def write_base(folder: Path, *, positions: int = 256, seed: int = 0, **changed: Any) -> Path:
    """A two-layer Llama whose logits are far enough apart that rounding does not change the likeliest."""
    torch.manual_seed(seed)
    config = {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": positions,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    } | changed
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(folder)
    write_tokenizer(folder, positions)
    return folder


def write_adapter(folder: Path, base: Path, *, rank: int = 8, seed: int = 1, alpha: float = 16, **config: Any) -> Path:
    """All linear layers but the output, as PEFT writes them."""
    torch.manual_seed(seed)
    tensors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            layer = "base_model.model." + name.removesuffix(".weight")
            tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, weight.shape[1]) * 0.2
            tensors[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], rank) * 0.2
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    facts = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "task_type": "CAUSAL_LM"} | config
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    return folder


def merged(base: Path, adapter: Path | None) -> Any:
    """The base with the adapter folded into its weights: an oracle that shares no code with the server."""
    model = LlamaForCausalLM.from_pretrained(base).eval()
    if adapter is None:
        return model
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for key, down in tensors.items():
            if ".lora_A." in key:
                up = tensors[key.replace("lora_A", "lora_B")]
                linear = model.get_submodule(key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
                linear.weight += config["lora_alpha"] / config["r"] * up @ down
    return model


def greedy(model: Any, prompt: list[int], tokens: int) -> list[int]:
    """What `generate` writes for this prompt alone, not stopping at the end token."""
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
    found: list[int] = out[0, len(prompt) :].tolist()
    return found
