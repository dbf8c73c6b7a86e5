import json
import resource
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from services.annotation.snapshots import take_snapshot
from shared.artifacts import path_of, verify
from shared.errors import Unavailable, Unusable
from tests.services.annotation.annotation_world import World

pytestmark = pytest.mark.usefixtures("database")


def corrected_world(folder: Path, each: int = 3) -> World:
    """As many training and holdout examples, every second one good."""
    world = World.in_folder(folder)
    for split in ("train", "holdout"):
        prompts = world.prompts_in(split)
        for n in range(each):
            world.answered(f"{split}-{n}", next(prompts))
    world.fill()
    for n, answer_id in enumerate(sorted(world.states())):
        world.verdict(answer_id, "good", None) if n % 2 else world.verdict(answer_id)
    return world


def lines(uri: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path_of(uri) / "examples.jsonl").read_text("utf-8").splitlines()]


def test_a_snapshot_holds_conversations_as_the_model_saw_them_with_the_ideal_answer(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    taken = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    manifest = verify(path_of(taken.uri), "snapshot")
    written = lines(taken.uri)
    assert [line["id"] for line in written] == sorted(manifest["example_ids"])
    assert set(written[0]) == {"id", "group", "kind", "messages"}
    for line in written:
        system, user, answer = line["messages"]
        assert (system["role"], user["role"], answer["role"]) == ("system", "user", "assistant")
        assert answer["content"] == ('{"queue": "net"}' if line["kind"] == "good" else '{"queue": "power"}')
    assert (taken.examples, taken.groups, taken.good + taken.fix) == (3, 3, 3)
    assert {k: manifest[k] for k in ("snapshot_id", "split", "examples", "groups", "good", "fix", "retired_seen")} == {
        "snapshot_id": taken.snapshot_id,
        "split": "train",
        "examples": 3,
        "groups": 3,
        "good": taken.good,
        "fix": taken.fix,
        "retired_seen": 0,
    }


def test_the_same_content_is_the_same_snapshot_to_the_byte(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    one = take_snapshot(world.engine, tmp_path / "one", "triage", "train")
    other = take_snapshot(world.engine, tmp_path / "other", "triage", "train")
    assert take_snapshot(world.engine, tmp_path / "one", "triage", "train") == one
    assert (one.snapshot_id, one.sha256) == (other.snapshot_id, other.sha256)
    for name in ("examples.jsonl", "manifest.json"):
        assert (path_of(one.uri) / name).read_bytes() == (path_of(other.uri) / name).read_bytes()


def test_new_content_is_another_snapshot_and_the_former_one_stays(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    before = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    world.verdict("train-0", ideal='{"queue": "phones"}')
    after = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    assert before.snapshot_id != after.snapshot_id
    assert verify(path_of(before.uri))["example_ids"] != verify(path_of(after.uri))["example_ids"]
    assert verify(path_of(after.uri))["retired_seen"] == 1


def test_a_training_snapshot_never_holds_a_group_of_the_holdout(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    train = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    holdout = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "holdout")
    assert {line["group"] for line in lines(train.uri)}.isdisjoint(line["group"] for line in lines(holdout.uri))
    assert train.snapshot_id != holdout.snapshot_id


def test_the_training_view_cannot_be_talked_into_showing_the_holdout(tmp_path: Path) -> None:
    """Somebody relabels every example: the groups' own rows still keep the holdout out."""
    world = corrected_world(tmp_path)
    with world.session() as session:
        session.connection().execute(text("UPDATE examples SET split = 'train'"))
    with world.session() as session:
        seen = session.connection().execute(text("SELECT group_id FROM train_examples")).scalars().all()
        held_out = session.connection().execute(text("SELECT group_id FROM prompt_groups WHERE split = 'holdout'"))
        assert set(seen).isdisjoint(held_out.scalars().all())
        assert len(seen) == 3


def test_without_examples_there_is_no_snapshot(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    with pytest.raises(Unusable, match="has no train example yet"):
        take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_a_snapshot_that_was_damaged_is_made_again(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    taken = take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")
    (path_of(taken.uri) / "examples.jsonl").write_text("{}\n")
    assert take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train") == taken
    assert verify(path_of(taken.uri))["examples"] == 3


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """The system refuses to let a file grow past 200 bytes, as a full disk would."""
    world, folder = corrected_world(tmp_path), tmp_path / "snapshots"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            take_snapshot(world.engine, folder, "triage", "train")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []
    assert take_snapshot(world.engine, folder, "triage", "train").examples == 3


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    world = corrected_world(tmp_path)
    (tmp_path / "snapshots").write_text("not a folder")
    with pytest.raises(Unavailable, match="cannot be written"):
        take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train")


def test_text_of_any_alphabet_survives(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompt = "Größe? 路由器 \u202e \u0000 \u2028 </script> \N{PILE OF POO}"
    world.corrected("a1", prompt, ideal="так\r\nточно\n")
    split = world.sample("a1").split
    taken = take_snapshot(world.engine, tmp_path / "snapshots", "triage", split)  # type: ignore[arg-type]
    raw = (path_of(taken.uri) / "examples.jsonl").read_bytes()
    assert raw.count(b"\n") == 1
    _, user, answer = json.loads(raw)["messages"]
    assert (user["content"], answer["content"]) == (prompt, "так\nточно")
