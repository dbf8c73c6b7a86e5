"""What `ratchet gate` costs on 100,000 items a side: seconds of CPU, the command as a user starts it. Seeded.

    python -m benchmarks.gate_files [--items 100000]

Right-or-wrong and graded scores, four slices each; best of three. Writes benchmarks/results/gate_files.json.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results") / "gate_files.json"
SLICES, RUNS = 4, 3


def write_side(file: Path, items: int, share: float, *, graded: bool, seed: int) -> None:
    draw = random.Random(seed)
    with file.open("w") as stream:
        for place in range(items):
            score = min(1.0, max(0.0, draw.gauss(share, 0.2))) if graded else float(draw.random() < share)
            line = {"item": f"item-{place}", "group": f"group-{place}", "score": score, "slice": f"s{place % SLICES}"}
            stream.write(json.dumps(line) + "\n")


def cpu_seconds(champion: Path, candidate: Path) -> float:
    """Of the command and the process it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "services.cli", "gate", str(champion), str(candidate)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ended.stdout.startswith("PROMOTE"):
        raise SystemExit(f"the gate says {ended.stdout[:300]}{ended.stderr[:300]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    items = parser.parse_args().items
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        champion, candidate = Path(folder) / "champion.jsonl", Path(folder) / "candidate.jsonl"
        for graded in (False, True):
            write_side(champion, items, 0.60, graded=graded, seed=1)
            write_side(candidate, items, 0.65, graded=graded, seed=2)
            seconds = [cpu_seconds(champion, candidate) for _ in range(RUNS)]
            found["graded" if graded else "right or wrong"] = round(min(seconds), 2)
    table = Table("scores", "CPU seconds")
    for kind, seconds_of in found.items():
        table.add_row(kind, f"{seconds_of:.2f}")
    Console(width=80).print(table)
    RESULTS.write_text(json.dumps({"items": items, "slices": SLICES, "cpu_seconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
