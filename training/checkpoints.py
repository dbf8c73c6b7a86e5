"""Checkpoints of a run in the making: what is needed to go on to the same end, sealed, two kept.

A checkpoint belongs to one plan (snapshot, base, preset, seed); one of another plan, or one that does not verify, is
passed over with a sentence. Optimizer and random states are tensors in safetensors files, not pickles.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared import artifacts
from shared.errors import ArtifactInvalid

KEPT = 2


def save(work: Path, model: Any, optimizer: torch.optim.Optimizer, facts: dict[str, Any]) -> None:
    """facts: at least step and plan_sha256."""
    with artifacts.writing(work / f"step-{facts['step']:08d}", "checkpoint", facts) as draft:
        save_file(_adapter(model), draft / "adapter.safetensors")
        moments = {
            f"{i}.{key}": value for i, row in optimizer.state_dict()["state"].items() for key, value in row.items()
        }
        save_file(moments, draft / "optimizer.safetensors")
        save_file(_random_states(), draft / "random.safetensors")
    for old in sorted(work.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)


def restore(
    work: Path, model: Any, optimizer: torch.optim.Optimizer, plan_sha256: str
) -> tuple[dict[str, Any] | None, list[str]]:
    """The facts of the last usable checkpoint, loaded; and a sentence for each one passed over."""
    passed_over = []
    for folder in sorted(work.glob("step-*"), reverse=True):
        try:
            facts = artifacts.verify(folder, "checkpoint")
        except ArtifactInvalid as error:
            passed_over.append(f"checkpoint passed over: {error}")
            continue
        if facts.get("plan_sha256") != plan_sha256:
            passed_over.append(f"checkpoint passed over: {folder} belongs to another snapshot, base or preset")
            continue
        _load(folder, model, optimizer)
        return facts, passed_over
    return None, passed_over


def _load(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> None:
    saved = load_file(folder / "adapter.safetensors")
    with torch.no_grad():
        for name, parameter in _trainable(model):
            parameter.copy_(saved[name])
    rows: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / "optimizer.safetensors").items():
        index, key = name.split(".", 1)
        rows.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": rows, "param_groups": optimizer.state_dict()["param_groups"]})
    random = load_file(folder / "random.safetensors")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])


def _adapter(model: Any) -> dict[str, Tensor]:
    return {name: parameter.detach().contiguous() for name, parameter in _trainable(model)}


def _trainable(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states
