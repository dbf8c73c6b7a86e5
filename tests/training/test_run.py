import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from shared import artifacts
from tests.training.conftest import MakeSnapshot, house_row
from training.model import BUILTIN, adapter_sha256
from training.run import choose_dev_groups, main

pytestmark = pytest.mark.slow

QUICK = [
    "--set",
    "epochs=2",
    "--set",
    "batch_examples=4",
    "--set",
    "replay_share=0.5",
    "--set",
    "checkpoint_every_steps=2",
]
REPLAY = str(BUILTIN["builtin:tiny"] / "general_replay.jsonl")


def command(snapshot: Path, out: Path, *more: str) -> list[str]:
    return ["--snapshot", str(snapshot), "--base", "builtin:tiny", "--out", str(out), "--replay", REPLAY, *QUICK, *more]


def weights_equal(one: Path, other: Path) -> bool:
    return adapter_sha256(one / "adapter") == adapter_sha256(other / "adapter")


def test_a_run_leaves_a_sealed_candidate_and_nothing_else(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "r1"
    assert main(command(snapshot(), out)) == 0
    facts = artifacts.verify(out, "run")
    assert set(facts["files"]) == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "metrics.jsonl",
    }
    assert facts["adapter_sha256"] == adapter_sha256(out / "adapter")
    assert (facts["base"], facts["seed"], facts["snapshot_id"]) == ("builtin:tiny", 0, "snapshot")
    assert (facts["examples"], facts["steps"], facts["preset"]["epochs"]) == (12, 10, 2)
    assert [path.name for path in out.parent.iterdir()] == ["r1"]


def test_progress_can_be_followed_line_by_line(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    metrics = tmp_path / "live.jsonl"
    main(command(snapshot(), tmp_path / "r", "--metrics", str(metrics)))
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert all(line["steps"] == 10 and line["loss"] > 0 and line["tokens_per_second"] > 0 for line in lines)
    assert (lines[-1]["eta_seconds"], lines[-1]["examples_seen"]) == (0.0, 36)
    assert metrics.read_bytes() == (tmp_path / "r" / "metrics.jsonl").read_bytes()


def test_the_adapter_names_its_base_but_no_path_of_this_machine(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    base = tmp_path / "copies" / "my-base"
    base.parent.mkdir()
    base.symlink_to(BUILTIN["builtin:tiny"])
    main([*command(snapshot(), tmp_path / "r"), "--base", str(base)])
    text = (tmp_path / "r" / "adapter" / "adapter_config.json").read_text() + (
        tmp_path / "r" / "manifest.json"
    ).read_text()
    assert (
        json.loads((tmp_path / "r" / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "my-base"
    )
    assert str(tmp_path) not in text


def test_the_same_corrections_train_the_same_adapter_whatever_their_ids(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    rows = [house_row(seed) for seed in range(12)]
    later = [{**row, "id": f"ex-{i:05d}"} for i, row in enumerate(reversed(rows))]
    main(command(snapshot(), tmp_path / "one"))
    main(command(snapshot(name="later", lines=[json.dumps(row) for row in later]), tmp_path / "other"))
    assert weights_equal(tmp_path / "one", tmp_path / "other")


def test_the_same_plan_twice_keeps_the_first_run(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    arguments = command(snapshot(), tmp_path / "r")
    main(arguments)
    before = (tmp_path / "r" / "manifest.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (tmp_path / "r" / "manifest.json").stat().st_mtime_ns == before


def test_another_plan_in_the_same_place_is_refused(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(snapshot(), tmp_path / "r")
    main(arguments)
    assert main([*arguments, "--seed", "1"]) == 2
    assert "another plan" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(snapshot: MakeSnapshot, tmp_path: Path) -> None:
    folder = snapshot()
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        main([*command(folder, tmp_path / name), "--seed", seed])
    assert weights_equal(tmp_path / "a", tmp_path / "b")
    assert not weights_equal(tmp_path / "a", tmp_path / "c")


@pytest.mark.slow
def test_a_run_killed_midway_resumes_to_the_weights_of_an_uninterrupted_one(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = snapshot(range(40)), tmp_path / "killed"
    longer = ["--set", "epochs=4", "--set", "dropout=0.1"]  # dropout, so that the random state must survive too
    assert main(command(folder, tmp_path / "whole", *longer)) == 0
    arguments = [sys.executable, "-m", "training.run", *command(folder, out, *longer)]
    process = subprocess.Popen(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.with_name("killed.work").glob("step-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert main([*command(folder, out, *longer), "--resume"]) == 0
    assert "going on after step" in capsys.readouterr().err
    assert weights_equal(tmp_path / "whole", out)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, artifacts.read_manifest(out)["steps"] + 1))


class Killed(BaseException):
    """Stands for the process being gone: nothing in the program catches it."""


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    snapshot: MakeSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = snapshot(), tmp_path / "r"
    main(command(folder, tmp_path / "whole"))
    interrupted_after(6, monkeypatch, command(folder, out))
    (tmp_path / "r.work" / "step-00000006" / "adapter.safetensors").write_bytes(b"half")
    assert main([*command(folder, out), "--resume"]) == 0
    told = capsys.readouterr().err
    assert "checkpoint passed over" in told
    assert "going on after step 4 of 10" in told
    assert weights_equal(tmp_path / "whole", out)


def test_a_checkpoint_of_another_plan_is_passed_over(
    snapshot: MakeSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = snapshot(), tmp_path / "r"
    interrupted_after(4, monkeypatch, command(folder, out))
    assert main([*command(folder, out), "--seed", "7", "--resume"]) == 0
    assert "belongs to another snapshot, base or preset" in capsys.readouterr().err


def interrupted_after(step: int, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Runs until the checkpoint of that step is written; then the process is as good as gone."""
    from training import checkpoints

    save = checkpoints.save

    def save_and_die(work: Path, model: object, optimizer: object, facts: dict[str, object]) -> None:
        save(work, model, optimizer, facts)  # type: ignore[arg-type]
        if facts["step"] == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            main(arguments)


def test_three_examples_are_refused(snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(snapshot(range(3)), tmp_path / "r")) == 2
    assert "has 3 examples; at least 10 are needed, 200 are advised" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_few_examples_are_warned_about(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(snapshot(range(12)), tmp_path / "r")) == 0
    assert "only 12 examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{half", "line 2: not JSON"),
        ("[]", "line 2: an object with a text 'id' is needed"),
        ('{"id": "a"}', "line 2, example 'a': 'messages' must be a list"),
        (
            '{"id": "a", "messages": [{"role": "user", "content": 3}, {}]}',
            "line 2, example 'a': message 1 cannot be rendered as text",
        ),
        (
            '{"id": "a", "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}',
            "line 2, example 'a': the last message must be the assistant's",
        ),
        (
            '{"id": "b", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}',
            "the id 'b' stands there twice",
        ),
    ],
)
def test_a_malformed_line_is_named(
    line: str, sentence: str, snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = '{"id": "b", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}'
    assert main(command(snapshot(lines=[good, line]), tmp_path / "r")) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "examples.jsonl" in told


def test_a_changed_snapshot_is_refused(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = snapshot()
    with (folder / "examples.jsonl").open("a") as stream:
        stream.write("\n")
    assert main(command(folder, tmp_path / "r")) == 2
    assert "is not the file the manifest describes" in capsys.readouterr().err


def test_an_unknown_base_is_refused(snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command(snapshot(), tmp_path / "r"), "--base", "builtin:huge"]) == 2
    assert "known: builtin:tiny" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main([*command(snapshot(), tmp_path / "r"), "--base", str(empty)]) == 2


def test_a_loss_that_is_no_number_stops_the_run(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "broken"
    base.mkdir()
    for file in BUILTIN["builtin:tiny"].iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    assert main([*command(snapshot(), tmp_path / "r"), "--base", str(base)]) == 2
    assert "the loss became nan at step 1" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_is_told_apart_from_a_bug(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command(snapshot(), tmp_path / "r"), "--metrics", "/dev/full"]) == 3
    assert "The disk is full" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_examples_that_are_too_long_are_left_out_and_counted(
    snapshot: MakeSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [(snapshot(range(12), "short") / "examples.jsonl").read_text().rstrip("\n")]
    messages = [{"role": "user", "content": "word " * 3000}, {"role": "assistant", "content": "ok"}]
    lines.append(json.dumps({"id": "long", "group": "long", "messages": messages}))
    assert main(command(snapshot(lines=lines, name="mixed"), tmp_path / "r")) == 0
    assert "1 of 13 examples are longer than 1024 tokens and left out" in capsys.readouterr().err
    assert artifacts.read_manifest(tmp_path / "r")["examples_too_long"] == 1


def test_the_dev_examples_are_whole_groups_and_none_of_a_small_snapshot() -> None:
    groups = [f"g{i // 2}" for i in range(100)]
    chosen = choose_dev_groups(groups, 0.1, seed=0)
    assert len(chosen) == 5
    assert chosen == choose_dev_groups(groups, 0.1, seed=0) != choose_dev_groups(groups, 0.1, seed=1)
    assert choose_dev_groups(groups[:40], 0.1, seed=0) == set()
