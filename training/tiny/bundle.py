"""The folder of a pretrained base: weights, tokenizer, general suite and replay set, sealed with recipe and figures."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from shared import artifacts
from training.examples import Example, read_items
from training.generation import generate
from training.tiny.world import KINDS, conversation

SUITE_ITEMS = 600
REPLAY_ITEMS = 1500


def write_base(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    recipe_and_figures: dict[str, Any],
) -> None:
    facts = {**recipe_and_figures, "seed": seed, "parameters": model.num_parameters()}
    facts["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    with artifacts.writing(out, "base", facts) as draft:
        model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        model.save_pretrained(draft)
        (draft / "model.safetensors").chmod(0o644)
        tokenizer.save_pretrained(draft)
        _settle_tokenizer_config(draft)
        write_items(draft / "general_suite.jsonl", "suite", seed, SUITE_ITEMS, want_held_out=True)
        facts["general_suite_exact"] = exact_share(model.eval(), tokenizer, read_items(draft / "general_suite.jsonl"))
        write_items(draft / "general_replay.jsonl", "replay", seed, REPLAY_ITEMS, want_held_out=False)


def exact_share(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, items: list[Example]) -> float:
    """The share of items whose greedy answer is the expected text."""
    batches_done = generate(model, tokenizer, [item.prompt for item in items], batch_size=64, max_new_tokens=128)
    return sum(answer.answer == items[answer.place].answer for batch in batches_done for answer in batch) / len(items)


def _settle_tokenizer_config(folder: Path) -> None:
    """The form that other servers read too: the template inside, the class under the name of transformers 4."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    template = folder / "chat_template.jinja"
    kept = {key: value for key, value in config.items() if key not in ("backend", "is_local", "local_files_only")}
    kept |= {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template.read_text()}
    template.unlink()
    file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def write_items(file: Path, name: str, seed: int, count: int, *, want_held_out: bool) -> None:
    with file.open("w") as stream:
        for i in range(count):
            kind, chat = conversation(f"{name}-{seed}-{i}", want_held_out=want_held_out, kind=KINDS[i % len(KINDS)])
            item = {"id": f"{name}-{i:03d}", "group": f"{name}-{i:03d}", "slice": kind, "messages": chat}
            stream.write(json.dumps(item) + "\n")
