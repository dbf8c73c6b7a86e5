"""What training and evaluation promise, on a GPU in bf16."""

import json
from pathlib import Path
from typing import Any

import torch

from shared import artifacts
from tests.gpu.conftest import program, seal_tickets
from tests.training.test_data import lesson
from training.data import packed
from training.loop import learn, new_optimizer
from training.model import add_adapter, load_base
from training.objective import answer_loss_sum
from training.preset import read_preset

FRESH = range(10_000, 10_100)
GENERAL_MARGIN = 0.03


def test_packed_examples_do_not_see_each_other() -> None:
    model = load_base("builtin:tiny")
    step = [lesson("a", 30, 20), lesson("b", 17, 3), lesson("c", 25, 12), lesson("d", 9, 2)]

    def loss(examples: list[Any], row: int) -> float:
        passes = packed(examples, pack_tokens=row, pass_tokens=4096, pad=0)
        return sum(answer_loss_sum(model, p.to(model.device), plain_output=True)[0].item() for p in passes)

    together, alone = loss(step, 64), sum(loss([example], 1) for example in step)
    others = loss([*step[1:], lesson("e", 31, 21)], 64)  # one of four differs: far more than bf16's noise
    assert model.dtype == torch.bfloat16
    assert abs(together - alone) < 0.005 * alone < abs(together - others) / 2


def test_the_adapter_learns_in_fp32_beside_a_base_in_bf16() -> None:
    preset = read_preset("default")
    model = add_adapter(load_base("builtin:tiny"), preset)
    step = [lesson(str(i), 40, 10) for i in range(8)]
    losses = [done.loss for done in learn(model, new_optimizer(model, preset), [step] * 6, preset, pad=0)]
    assert losses[-1] < losses[0]
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_200_corrections_teach_the_house_format_and_nothing_is_forgotten(candidate: Path, tmp_path: Path) -> None:
    seal_tickets(tmp_path / "fresh", FRESH)
    program(
        "training.evaluate", "--base", "builtin:tiny", "--out", str(tmp_path / "e"),
        "--version", "base=base", "--version", f"new={candidate}",
        "--suite", f"fresh={tmp_path / 'fresh'}", "--suite", "general=builtin:tiny/general_suite.jsonl",
    )  # fmt: skip
    facts, run = artifacts.read_manifest(tmp_path / "e"), artifacts.read_manifest(candidate)
    exact = {version: {suite: s["exact"] for suite, s in of.items()} for version, of in facts["summary"].items()}
    print(f"\n{run['device']}: {run['steps']} steps in {run['seconds']} s; exact {json.dumps(exact)}")
    assert exact["base"]["fresh"] <= 0.3
    assert exact["new"]["fresh"] >= 0.85
    assert exact["new"]["general"] >= exact["base"]["general"] - GENERAL_MARGIN
