import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu" / "train.py"
RESULT = PROGRAM.parents[1] / "results" / "gpu_train.json"


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_smoke_run_measures_and_writes_no_result() -> None:
    before = RESULT.read_bytes() if RESULT.exists() else None
    ended = started("--smoke")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["loss_fell"]
    assert figures["tokens_per_second"] > 0
    assert (figures["steps_timed"], figures["model_flop_utilisation"]) == (9, None)
    assert (RESULT.read_bytes() if RESULT.exists() else None) == before


def test_without_a_gpu_it_says_so() -> None:
    ended = started()
    assert ended.returncode == 2
    assert "There is no GPU here" in ended.stderr
