"""Adapters for the tests on vLLM: one from a short, real training on house tickets, and versions made from it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from shared import artifacts
from shared.events import CandidateTrained
from shared.ids import version_name
from training.tiny.house import SYSTEM_PROMPT, ticket

WORKLOAD = "support-triage"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def conversation(seed: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": ticket(seed).text}]


def train(folder: Path, seeds: range) -> Path:
    """The run's folder; `python -m training.run` as the scheduler starts it."""
    lines = []
    for seed in seeds:
        turns = [*conversation(seed), {"role": "assistant", "content": ticket(seed).answer}]
        lines.append(json.dumps({"id": f"e{seed}", "group": f"g{seed}", "kind": "fix", "messages": turns}) + "\n")
    snapshot = folder / "snapshot"
    with artifacts.writing(snapshot, "snapshot", {"workload": WORKLOAD, "split": "train"}) as draft:
        (draft / "examples.jsonl").write_text("".join(lines))
    command = [sys.executable, "-m", "training.run", "--base", "builtin:tiny"]
    command += ["--preset", "careless", "--set", "batch_examples=8"]
    command += ["--snapshot", str(snapshot), "--out", str(folder / "run")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run"


def another_version(run: Path, artifacts_folder: Path, job_id: str, scale: float, **config: Any) -> CandidateTrained:
    """The same adapter with its B scaled, sealed as a run of its own, and the event that tells of it."""
    tensors = load_file(run / "adapter" / ADAPTER[1])
    facts = json.loads((run / "adapter" / ADAPTER[0]).read_text()) | config
    if "r" in config:  # a higher rank: the same product, with zeros in the rows and columns it has more
        tensors = {name: _widened(tensor, "lora_A" in name, config["r"]) for name, tensor in tensors.items()}
    manifest: dict[str, Any] = {"base": "builtin:tiny"}
    folder = artifacts_folder / "runs" / job_id
    with artifacts.writing(folder, "run", manifest) as draft:
        (draft / "adapter").mkdir()
        (draft / "adapter" / ADAPTER[0]).write_text(json.dumps(facts))
        scaled = {name: tensor * scale if "lora_B" in name else tensor for name, tensor in tensors.items()}
        save_file(scaled, draft / "adapter" / ADAPTER[1])
        files = {name: {"sha256": artifacts.sha256_of(draft / "adapter" / name)} for name in ADAPTER}
        manifest["adapter_sha256"] = artifacts.sha256_of_files(files)
    return CandidateTrained(
        job_id=job_id,
        workload=WORKLOAD,
        version=version_name(WORKLOAD, manifest["adapter_sha256"]),
        run_uri=artifacts.uri_of(folder),
        adapter_sha256=manifest["adapter_sha256"],
        base="base",
        preset="careless",
        snapshot_id="snapshot",
        snapshot_uri=artifacts.uri_of(run.with_name("snapshot")),
    )


def _widened(tensor: Any, is_a: bool, rank: int) -> Any:
    wide = tensor.new_zeros((rank, tensor.shape[1]) if is_a else (tensor.shape[0], rank))
    wide[: tensor.shape[0], : tensor.shape[1]] = tensor
    return wide
