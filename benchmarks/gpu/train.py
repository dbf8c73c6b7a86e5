"""How fast `training.loop` trains LoRA on a 1B Llama shape: `python3 benchmarks/gpu/train.py`, on a GPU machine.

Random weights, bf16, the same packing, loss and optimizer steps as `training.run`; no network, no hub. Writes
`benchmarks/results/gpu_train.json`. Without a GPU: status 2 and a sentence; `--smoke` runs a tiny shape through the
same code on CPU and prints the figures instead.

Model FLOPs of a step (LoRA: frozen weights need no gradient of their own, so 4 and not 6 per weight and token):
    tokens * (4 * frozen_linear_weights + 6 * adapter_weights)      the linear layers, forward and backward
  + answer_tokens * 4 * width * vocabulary                           the output layer, on answer tokens only
  + 6 * layers * width * sum(length^2)                               causal attention, each example by itself
Utilisation is that, per second, over the rate of an 8192^3 bf16 matrix product measured on the same GPU just before.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a bare machine has the checkout, not the installed package

RESULT = ROOT / "benchmarks" / "results" / "gpu_train.json"
FLOPS_FORMULA = "tokens*(4*frozen_linear + 6*adapter) + answer_tokens*4*width*vocabulary + 6*layers*width*sum(length^2)"
WARMUP_STEPS = 3  # compiled kernels and the allocator settle
ALPHABET = 64  # tokens that answers are made of: something to learn for a model that knows nothing


@dataclass(frozen=True, slots=True)
class Shape:
    width: int
    mlp_width: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    example_tokens: int  # the mean; lengths vary by half of it
    batch_examples: int
    steps: int
    pass_tokens: int


LLAMA_1B = Shape(2048, 8192, 16, 32, 8, 128_256, 600, 64, 40, 16_384)
SMOKE = Shape(64, 128, 2, 4, 2, 512, 40, 8, 12, 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description="Tokens per second, utilisation and memory of LoRA training.")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape on CPU; prints, writes no result")
    options = parser.parse_args()
    import torch

    if options.smoke:
        print(json.dumps(measure(SMOKE, torch.device("cpu")), indent=1))
        return 0
    if not torch.cuda.is_available():
        print("There is no GPU here. Run this on a machine with one, or try --smoke.", file=sys.stderr)
        return 2
    figures = measure(LLAMA_1B, torch.device("cuda"))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    print(json.dumps(figures, indent=1, sort_keys=True))
    return 0


def measure(shape: Shape, device: Any) -> dict[str, Any]:
    import torch

    from training.loop import learn, new_optimizer
    from training.model import add_adapter
    from training.preset import read_preset

    on_gpu = device.type == "cuda"
    peak_flops = matmul_rate(device) if on_gpu else None
    preset = replace(read_preset("default"), pass_tokens=shape.pass_tokens, pack_tokens=4 * shape.example_tokens)
    torch.manual_seed(0)
    model = add_adapter(random_llama(shape, device), preset)
    optimizer = new_optimizer(model, preset)
    steps = lessons(shape)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    losses, seconds = [], 0.0
    for done in learn(model, optimizer, steps, preset, pad=0):
        losses.append(done.loss)
        if done.step > WARMUP_STEPS:
            seconds += done.seconds
    timed = steps[WARMUP_STEPS:]
    tokens = sum(len(example) for step in timed for example in step)
    flops = sum(model_flops(model, step, shape) for step in timed)
    first, last = sum(losses[:3]) / 3, sum(losses[-3:]) / 3
    return {
        "machine": machine(on_gpu),
        "model": {"kind": "llama, random weights", "parameters": sum(p.numel() for p in model.parameters())},
        "precision": "bf16" if on_gpu else "fp32",
        "lora": {"r": preset.r, "alpha": preset.alpha, "target": "all-linear"},
        "examples_per_step": shape.batch_examples,
        "mean_example_tokens": round(tokens / sum(len(step) for step in timed), 1),
        "steps_timed": len(timed),
        "tokens_per_second": round(tokens / seconds, 1),
        "model_tflops_per_second": round(flops / seconds / 1e12, 3),
        "matmul_tflops_per_second": round(peak_flops / 1e12, 1) if peak_flops else None,
        "model_flop_utilisation": round(flops / seconds / peak_flops, 4) if peak_flops else None,
        "flops_formula": FLOPS_FORMULA,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
        "loss_first": round(first, 4),
        "loss_last": round(last, 4),
        "loss_fell": last < first,
    }


def random_llama(shape: Shape, device: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    with torch.device(device):
        model = LlamaForCausalLM(config)
    return model.to(torch.bfloat16 if device.type == "cuda" else torch.float32)


def lessons(shape: Shape) -> list[list[Any]]:
    """Examples of varied length: random prompts, answers from a small alphabet, a third of each supervised."""
    from training.data import Rendered

    rng = Random(0)

    def lesson(name: str) -> Rendered:
        length = rng.randint(shape.example_tokens // 2, shape.example_tokens * 3 // 2)
        prompt = [rng.randrange(ALPHABET, shape.vocabulary) for _ in range(length * 2 // 3)]
        return Rendered(name, prompt + [rng.randrange(ALPHABET) for _ in range(length - len(prompt))], len(prompt))

    return [[lesson(f"{step}-{i}") for i in range(shape.batch_examples)] for step in range(shape.steps)]


def model_flops(model: Any, step: list[Any], shape: Shape) -> float:
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for name, p in model.named_parameters() if not p.requires_grad and "proj" in name)
    tokens = sum(map(len, step))
    answer_tokens = sum(len(example) - example.prompt_tokens for example in step)
    attention = 6 * shape.layers * shape.width * sum(len(example) ** 2 for example in step)
    return tokens * (4 * frozen + 6 * adapter) + answer_tokens * 4 * shape.width * shape.vocabulary + attention


def matmul_rate(device: Any, size: int = 8192, times: int = 20) -> float:
    """FLOP/s of a plain bf16 matrix product: the ceiling that utilisation is measured against."""
    import torch

    one = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    other = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    for _ in range(5):
        one @ other
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        one @ other
    torch.cuda.synchronize()
    return 2 * size**3 * times / (time.perf_counter() - began)


def machine(on_gpu: bool) -> dict[str, Any]:
    import torch
    import transformers

    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
