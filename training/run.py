"""Trains one candidate: `python -m training.run --snapshot DIR --base NAME --preset default --out DIR`.

Reads a sealed snapshot and, against forgetting, a replay file. Writes OUT, sealed as kind "run": the adapter's two
files and `metrics.jsonl`; the manifest tells the whole plan. Until then everything lives in `OUT.work/`.
Twice:  the same plan again keeps the finished OUT; another plan in the same place is refused.
Killed: `--resume` goes on from the last whole checkpoint to the same weights as an uninterrupted run.
Ends:   0 done, 1 a bug, 2 bad input, 3 out of resources; the reason is the last line of stderr.
"""

import argparse
import fcntl
import hashlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.errors import ArtifactInvalid, Unavailable, Unusable
from shared.limits import ADVISED_EXAMPLES
from training.cores import share_cores
from training.examples import EXAMPLES, WARNED_BELOW, Example, advice, read_items, read_snapshot
from training.exits import exit_status
from training.model import (
    adapter_sha256,
    add_adapter,
    load_base,
    load_tokenizer,
    public_name,
    resolve_file,
    save_adapter,
)
from training.preset import Preset, read_preset
from training.progress import MetricLines, bar

LONGEST = 2048  # tokens of an example, where the model reads more and --max-length is not given


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    share_cores()
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    # What can be refused is refused before torch is imported.
    preset = read_preset(options.preset, options.set)
    snapshot, examples = read_snapshot(options.snapshot)
    if sentence := advice(len(examples)):
        _tell(sentence)
    options.replay = resolve_file(options.replay) if options.replay else None
    replay = _replay(options.replay, preset)
    plan = _plan(options, preset, snapshot)
    if _is_done(options.out, plan):
        return
    work = options.out.with_name(options.out.name + ".work")
    with _alone(work):
        _train(options, preset, plan, snapshot, examples, replay, work)
    shutil.rmtree(work, ignore_errors=True)


def _train(
    options: argparse.Namespace,
    preset: Preset,
    plan: dict[str, Any],
    snapshot: dict[str, Any],
    examples: Sequence[Example],
    replay: Sequence[Example],
    work: Path,
) -> None:
    import torch

    from training import checkpoints
    from training.data import render, steps_of_epoch
    from training.loop import learn, mean_loss, new_optimizer

    began = time.perf_counter()
    tokenizer = load_tokenizer(options.base)
    base = load_base(options.base)
    longest = options.max_length or min(LONGEST, getattr(base.config, "max_position_embeddings", LONGEST))
    lessons = [(example, rendered) for example in examples if len(rendered := render(tokenizer, example)) <= longest]
    # By content: ids are times, and the same corrections shall train the same adapter.
    lessons.sort(key=lambda lesson: (lesson[1].ids, lesson[0].group))
    reviews = [rendered for item in replay if len(rendered := render(tokenizer, item)) <= longest]
    left_out = len(examples) - len(lessons)
    if left_out:
        _tell(f"{left_out} of {len(examples)} examples are longer than {longest} tokens and left out (--max-length)")
        advice(len(lessons))
    dev_groups = choose_dev_groups([example.group for example, _ in lessons], preset.dev_share, options.seed)
    dev = [rendered for example, rendered in lessons if example.group in dev_groups]
    train = [rendered for example, rendered in lessons if example.group not in dev_groups]
    epochs = [
        steps_of_epoch(
            train,
            reviews,
            seed=options.seed,
            epoch=epoch,
            batch_examples=preset.batch_examples,
            replay_share=preset.replay_share,
        )
        for epoch in range(preset.epochs)
    ]
    steps = [step for epoch in epochs for step in epoch]
    epoch_ends = {len(epochs[0]) * (epoch + 1) for epoch in range(preset.epochs)}

    torch.manual_seed(options.seed)
    model = add_adapter(base, preset)
    optimizer = new_optimizer(model, preset)
    done, seconds_before = 0, 0.0
    if options.resume:
        facts, passed_over = checkpoints.restore(work, model, optimizer, plan["plan_sha256"])
        for sentence in passed_over:
            _tell(sentence)
        if facts is not None:
            done, seconds_before = int(facts["step"]), float(facts["seconds"])
            _tell(f"going on after step {done} of {len(steps)}")
    else:
        for old in work.glob("step-*"):
            shutil.rmtree(old)

    metrics_file = options.metrics or work / "metrics.jsonl"
    seen = sum(len(step) for step in steps[:done])
    loss, dev_loss = float("nan"), None
    with MetricLines(metrics_file, keep_lines=done) as metrics, bar() as progress:
        task = progress.add_task("training", total=len(steps), completed=done)
        started = time.perf_counter()
        for figures in learn(model, optimizer, steps, preset, first=done, pad=tokenizer.pad_token_id):
            seen += len(steps[figures.step - 1])
            loss = figures.loss
            if dev and figures.step in epoch_ends:
                dev_loss = mean_loss(model, dev, preset, pad=tokenizer.pad_token_id)
            spent = time.perf_counter() - started
            metrics.write(
                step=figures.step,
                steps=len(steps),
                loss=round(loss, 6),
                lr=figures.learning_rate,
                tokens_per_second=round(figures.tokens / figures.seconds, 1),
                examples_seen=seen,
                eta_seconds=round(spent / (figures.step - done) * (len(steps) - figures.step), 1),
                **({"dev_loss": round(dev_loss, 6)} if dev_loss is not None and figures.step in epoch_ends else {}),
            )
            progress.update(task, completed=figures.step, description=f"training, loss {loss:.4f}")
            if figures.step % preset.checkpoint_every_steps == 0 and figures.step < len(steps):
                kept = {"step": figures.step, "seconds": seconds_before + spent, "plan_sha256": plan["plan_sha256"]}
                checkpoints.save(work, model, optimizer, kept)

    outcome: dict[str, Any] = {
        "examples": len(examples),
        "examples_trained": len(train),
        "examples_dev": len(dev),
        "examples_too_long": left_out,
        "replay_items": len(reviews),
        "replay_drawn_per_epoch": round(len(train) * preset.replay_share) if reviews else 0,
        "steps": len(steps),
        "final_loss": loss,
        "dev_loss": dev_loss,
        "seconds": round(seconds_before + time.perf_counter() - began, 2),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": _versions(),
    }
    facts = {**plan, **outcome}
    with artifacts.writing(options.out, "run", facts) as draft:
        save_adapter(model, draft / "adapter", options.base)
        shutil.copyfile(metrics_file, draft / "metrics.jsonl")
        facts["adapter_sha256"] = adapter_sha256(draft / "adapter")
    _tell(
        f"done: {len(steps)} steps, loss {loss:.4f}, {outcome['seconds']:.0f} s, adapter {facts['adapter_sha256'][:16]}"
    )


def choose_dev_groups(groups: Sequence[str], dev_share: float, seed: int) -> set[str]:
    """Whole groups, chosen by hash; none below 50 examples, where each one is needed to learn from."""
    if len(groups) < WARNED_BELOW:
        return set()
    ranked = sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
    return set(ranked[: round(len(ranked) * dev_share)])


def _plan(options: argparse.Namespace, preset: Preset, snapshot: dict[str, Any]) -> dict[str, Any]:
    """All that decides the outcome, with one hash over it."""
    plan: dict[str, Any] = {
        "base": public_name(options.base),
        "preset": {"name": Path(options.preset).stem, **asdict(preset)},
        "seed": options.seed,
        "max_length": options.max_length,
        "snapshot_id": snapshot.get("snapshot_id"),
        "snapshot_sha256": snapshot["files"][EXAMPLES]["sha256"],
        "replay_sha256": artifacts.sha256_of(options.replay) if options.replay else None,
    }
    plan["plan_sha256"] = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    return plan


def _replay(file: Path | None, preset: Preset) -> list[Example]:
    if preset.replay_share == 0:
        return []
    if file is None:
        _tell("no --replay file: nothing guards the old skills; give general items to replay")
        return []
    return read_items(file)


def _is_done(out: Path, plan: dict[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        facts = artifacts.verify(out, "run")
    except ArtifactInvalid:
        return False  # a folder that does not verify does not exist; the new one replaces it
    if facts.get("plan_sha256") != plan["plan_sha256"]:
        raise Unusable(f"{out} holds a run of another plan; give another --out")
    _tell(f"{out} is already there, with this plan and whole")
    return True


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Two processes never write one run: the second goes away and may come again."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another process is training into {work}; wait for it or stop it") from None
        yield


def _versions() -> dict[str, str]:
    import peft
    import torch
    import transformers

    libraries = {"torch": torch, "transformers": transformers, "peft": peft}
    return {
        "python": platform.python_version(),
        **{name: str(library.__version__) for name, library in libraries.items()},
    }


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.run",
        description="Train a LoRA adapter on a snapshot of corrections.",
        epilog=f"{ADVISED_EXAMPLES} examples are advised.",
    )
    parser.add_argument("--snapshot", type=Path, required=True, help="a sealed snapshot folder")
    parser.add_argument("--base", required=True, help="builtin:tiny, a hub name or a local folder")
    parser.add_argument("--preset", default="default", help="default, careful, careless or a .toml file")
    parser.add_argument("--out", type=Path, required=True, help="the run folder to write")
    parser.add_argument("--replay", help="JSONL of general items, against forgetting; a file, or builtin:tiny/FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of OUT.work")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value of the preset"
    )
    parser.add_argument("--max-length", type=int, help="longest example in tokens; longer ones are left out")
    parser.add_argument("--metrics", type=Path, help="where to write progress lines (default OUT.work/metrics.jsonl)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
