"""A training or evaluation that does what a script file says, one act an attempt; the real ones take minutes.

`python child.py SCRIPT.json ARGUMENTS...`. Acts: "work", "work slowly", "hang", "hang deaf", "checkpoint and
die", "leave nothing", "exit N". Beside the script, `SCRIPT.json.pids` gets a line for each attempt.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from shared import artifacts


def main() -> None:
    script = Path(sys.argv[1])
    options = _options(sys.argv[2:])
    pids = script.with_name(script.name + ".pids")
    attempts = len(pids.read_text().splitlines()) if pids.exists() else 0
    acts = json.loads(script.read_text())
    act = acts[min(attempts, len(acts) - 1)]
    _tell(options.metrics, {"step": 1, "steps": 4, "loss": 2.5, "eta_seconds": 3})
    with pids.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    _perform(act, options)


def _perform(act: str, options: argparse.Namespace) -> None:
    checkpoint = options.out.with_name(options.out.name + ".work") / "checkpoint"
    if act.startswith("exit "):
        print("some noise\nthe last sentence of the child", file=sys.stderr)
        sys.exit(int(act.removeprefix("exit ")))
    if act == "hang deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if act.startswith("hang"):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("1")
        while True:
            time.sleep(60)
    if act == "checkpoint and die":
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("2")
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "work slowly":
        time.sleep(0.5)
    if act != "leave nothing":
        _seal(options, int(checkpoint.read_text()) if options.resume and checkpoint.exists() else 0)


def _seal(options: argparse.Namespace, resumed_from: int) -> None:
    kind = "evaluation" if options.version else "run"
    facts = {"resumed_from": resumed_from, "arguments": sys.argv[2:], "nice": os.nice(0)}
    with artifacts.writing(options.out, kind, facts) as folder:
        if kind == "run":
            (folder / "adapter").mkdir()
            (folder / "adapter" / "adapter_model.safetensors").write_text(f"weights of {options.snapshot}")
            facts["adapter_sha256"] = artifacts.sha256_of(folder / "adapter" / "adapter_model.safetensors")
    _tell(options.metrics, {"step": 4, "steps": 4, "loss": 0.5, "eta_seconds": 0})


def _tell(metrics: Path, line: dict[str, float]) -> None:
    with metrics.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("--snapshot", "--base", "--preset", "--replay", "--seed", "--schema"):
        parser.add_argument(name)
    parser.add_argument("--version", action="append")
    parser.add_argument("--suite", action="append")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
