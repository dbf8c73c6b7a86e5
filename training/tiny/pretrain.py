"""Pretrains the tiny base from scratch: `python -m training.tiny.pretrain --out DIR --seed 0 --steps 8000`.

Writes DIR sealed as kind "base": model, tokenizer with chat template, the general suite and the replay set; the recipe
and its figures stand in the manifest. Every step's batch is a pure function of seed and step, so a run that died goes
on from the checkpoint in `DIR.work/`. Twice: a finished DIR is kept.
"""

import argparse
import bisect
import itertools
import math
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from shared import artifacts
from training.tiny.bundle import write_base
from training.tiny.tokenizer import END, PAD, train_tokenizer
from training.tiny.world import conversation


@dataclass(frozen=True, slots=True)
class Recipe:
    layers: int = 4
    width: int = 192
    heads: int = 6
    mlp_width: int = 512
    vocabulary: int = 768
    positions: int = 1024
    batch_conversations: int = 32
    learning_rate: float = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 200  # of each cycle
    # Share of all steps and of the learning rate: each cycle is a cosine from a lower rate, with a fresh optimizer.
    cycles: tuple[tuple[float, float], ...] = ((0.5, 1.0), (0.25, 0.4), (0.25, 0.25))
    clip: float = 1.0
    turn_shares: tuple[float, ...] = (0.3, 0.2, 0.2, 0.3)  # conversations of one to four tasks on a text


RECIPE = Recipe()
POOL_BATCHES = 24  # conversations are sorted by length within a pool, so that a batch is hardly padded


def main() -> None:
    options = _options()
    if artifacts.is_valid(options.out, "base"):
        print(f"{options.out} is already there and whole")
        return
    torch.manual_seed(options.seed)
    tokenizer = train_tokenizer(
        (m["content"] for i in range(6000) for m in _chat(f"tokenizer-{options.seed}-{i}")),
        int(RECIPE.vocabulary),
        int(RECIPE.positions),
    )
    model = new_model(tokenizer)
    started = time.perf_counter()
    figures = pretrain(
        model, tokenizer, options.seed, options.steps, options.out, options.checkpoint_every, options.fast
    )
    figures["seconds"] = round(figures.pop("seconds_before") + time.perf_counter() - started)
    facts = {"recipe": asdict(RECIPE), "steps": options.steps, **figures}
    write_base(options.out, model, tokenizer, options.seed, facts)


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=RECIPE.vocabulary,
        hidden_size=RECIPE.width,
        intermediate_size=RECIPE.mlp_width,
        num_hidden_layers=RECIPE.layers,
        num_attention_heads=RECIPE.heads,
        num_key_value_heads=RECIPE.heads,
        max_position_embeddings=RECIPE.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    steps: int,
    out: Path,
    checkpoint_every: int,
    fast: bool,
) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RECIPE.learning_rate, betas=RECIPE.betas, weight_decay=RECIPE.weight_decay
    )
    work = out.with_name(out.name + ".work")
    first, seconds_before = _resumed(work, model, optimizer)
    decoder = torch.compile(model.model, dynamic=True) if fast else model.model
    started, smooth = time.perf_counter(), 0.0
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("pretraining", total=steps, completed=first)
        for step, (tokens, answered) in enumerate(batches(tokenizer, seed, first, steps), start=first):
            if step in turns(steps):
                optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] = RECIPE.learning_rate * schedule(step, steps)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                hidden = decoder(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state  # (batch, seq, width)
                logits = model.lm_head(hidden[answered[:, 1:]])  # (answer tokens, vocabulary)
            loss = F.cross_entropy(logits.float(), tokens[:, 1:][answered[:, 1:]])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            smooth = loss.item() if step == first else 0.98 * smooth + 0.02 * loss.item()
            bar.update(task, completed=step + 1, description=f"pretraining, loss {smooth:.4f}")
            if (step + 1) % 100 == 0 and not console.is_terminal:
                print(f"step {step + 1}/{steps} loss {smooth:.4f} {time.perf_counter() - started:.0f} s", flush=True)
            if (step + 1) % checkpoint_every == 0 and step + 1 < steps:
                _checkpoint(work, model, optimizer, step + 1, seconds_before + time.perf_counter() - started)
                tokenizer.save_pretrained(work / "tokenizer")
    return {"final_loss": round(smooth, 5), "seconds_before": seconds_before}


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, first: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(tokens, answered), both (batch, seq), right-padded: causal attention never looks at the padding behind it."""
    size = RECIPE.batch_conversations
    for pool in range(first // POOL_BATCHES, math.ceil(steps / POOL_BATCHES)):
        rendered = [encode(tokenizer, _chat(f"pretrain-{seed}-{pool}-{i}")) for i in range(size * POOL_BATCHES)]
        rendered.sort(key=lambda pair: len(pair[0]))
        order = torch.randperm(POOL_BATCHES, generator=torch.Generator().manual_seed(seed + pool)).tolist()
        for place, chosen in enumerate(order):
            if first <= pool * POOL_BATCHES + place < steps:
                yield _padded(rendered[chosen * size : (chosen + 1) * size], tokenizer.pad_token_id)


def encode(tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]]) -> tuple[list[int], list[bool]]:
    """Token ids as the chat template renders them, and which of them the assistant writes (its end token too)."""
    ids: list[int] = []
    answered: list[bool] = []
    for message in chat:
        opening = tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>")
        body = tokenizer(message["content"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        ids += [opening, *body]
        answered += [False, *[message["role"] == "assistant"] * len(body)]
    return ids, answered


def _chat(seed: str) -> list[dict[str, str]]:
    draw, turns = zlib.crc32(seed.encode()) / 2**32, 1
    for turns, share in enumerate(RECIPE.turn_shares, start=1):  # noqa: B007
        draw -= share
        if draw < 0:
            break
    return conversation(seed, want_held_out=False, turns=turns)[1]


def _padded(rendered: list[tuple[list[int], list[bool]]], pad: int) -> tuple[Tensor, Tensor]:
    width = max(len(ids) for ids, _ in rendered)
    tokens = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rendered])
    answered = torch.tensor([mask + [False] * (width - len(mask)) for _, mask in rendered])
    return tokens, answered


def turns(steps: int) -> list[int]:
    """The step at which each cycle begins."""
    ends = itertools.accumulate(share for share, _ in RECIPE.cycles)
    return [0, *(round(steps * end) for end in ends)][:-1]


def schedule(step: int, steps: int) -> float:
    """The share of the learning rate at a step: warm-up and cosine in each cycle."""
    begins = turns(steps)
    cycle = bisect.bisect_right(begins, step) - 1
    ends = [*begins[1:], steps]
    return RECIPE.cycles[cycle][1] * _cycle(step - begins[cycle], ends[cycle] - begins[cycle])


def _cycle(step: int, steps: int) -> float:
    warmup = min(RECIPE.warmup_steps, steps // 4)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _checkpoint(work: Path, model: LlamaForCausalLM, optimizer: torch.optim.AdamW, step: int, seconds: float) -> None:
    facts = {"step": step, "seconds": seconds}
    with artifacts.writing(work / f"step-{step:06d}", "checkpoint", facts) as draft:
        save_file({name: p.detach().clone() for name, p in model.named_parameters()}, draft / "weights.safetensors")
        state = optimizer.state_dict()["state"]
        save_file({f"{i}.{k}": v for i, row in state.items() for k, v in row.items()}, draft / "optimizer.safetensors")
        model.config.save_pretrained(draft)


def _resumed(work: Path, model: LlamaForCausalLM, optimizer: torch.optim.AdamW) -> tuple[int, float]:
    """Step and seconds of the last whole checkpoint, loaded; (0, 0) when there is none."""
    for folder in sorted(work.glob("step-*"), reverse=True):
        if not artifacts.is_valid(folder, "checkpoint"):
            continue
        model.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
        rows: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(folder / "optimizer.safetensors").items():
            index, key = name.split(".", 1)
            rows.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": rows, "param_groups": optimizer.state_dict()["param_groups"]})
        manifest = artifacts.read_manifest(folder)
        return int(manifest["step"]), float(manifest["seconds"])
    return 0, 0.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.tiny.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write; must not be there yet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--checkpoint-every", type=int, default=500)
    parser.add_argument(
        "--fast", action="store_true", help="compile the decoder and multiply in bf16; needs a C++ compiler"
    )
    options = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    return options


if __name__ == "__main__":
    main()
