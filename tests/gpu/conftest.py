"""The tests that need a GPU: `make test-gpu`, or `RATCHET_TEST_GPU=1 python3 -m pytest tests/gpu` on a bare machine.

Without RATCHET_TEST_GPU nothing here is collected. With it, a machine without a GPU fails: nothing is skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import artifacts
from tests.training.conftest import house_row

collect_ignore_glob = [] if os.environ.get("RATCHET_TEST_GPU") else ["*"]  # folders too

ROOT = Path(__file__).parents[2]
CORRECTIONS = 200


@pytest.fixture(scope="session", autouse=True)
def _a_gpu() -> None:
    import torch

    assert torch.cuda.is_available(), "RATCHET_TEST_GPU is set, but torch finds no GPU here"


@pytest.fixture(scope="session")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the default preset on 200 corrections of the house's tickets."""
    folder = tmp_path_factory.mktemp("candidate")
    seal_tickets(folder / "snapshot", range(CORRECTIONS))
    program(
        "training.run", "--base", "builtin:tiny", "--snapshot", str(folder / "snapshot"), "--out", str(folder / "run"),
        "--replay", "builtin:tiny/general_replay.jsonl",
    )  # fmt: skip
    return folder / "run"


def seal_tickets(folder: Path, seeds: range) -> None:
    with artifacts.writing(folder, "snapshot", {"snapshot_id": folder.name, "split": "train"}) as draft:
        (draft / "examples.jsonl").write_text("".join(json.dumps(house_row(seed)) + "\n" for seed in seeds))


def program(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
