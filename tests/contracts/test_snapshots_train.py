"""What annotation writes into a snapshot, training reads: the same conversations, whatever the texts hold."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.annotation import repository
from services.annotation.grouping import Split
from services.annotation.snapshots import take_snapshot
from services.annotation.tables import CorrectionRow
from shared import artifacts
from shared.artifacts import path_of
from shared.chat import content_text
from shared.errors import Unusable
from tests.services.annotation.annotation_world import World
from training.examples import Example, read_snapshot

ODD = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei\x00j\r\nk \N{PILE OF POO} \ufeff </script>"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.just(ODD)
CONTENTS = TEXTS | st.none() | st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}), max_size=3)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": CONTENTS},
        optional={"name": TEXTS, "tool_calls": st.just([])},
    ),
    min_size=1,
    max_size=4,
)


def taught(world: World, folder: Path, messages: list[dict[str, Any]], ideal: str) -> Example | None:
    """One conversation corrected, in a snapshot, and read by training; None when curation refused it."""
    world.answered("a1", "", messages=messages, answer="something else")
    world.fill()
    world.verdict("a1", ideal=ideal)
    if not world.examples():
        return None
    split: Split = "holdout" if world.sample("a1").split == "holdout" else "train"
    taken = take_snapshot(world.engine, folder / "snapshots", "triage", split)
    manifest, [example] = read_snapshot(path_of(taken.uri))
    assert manifest["example_ids"] == [example.id]
    assert manifest["left_out"] == {}
    return example


@example(messages=[{"role": "user", "content": ODD}, {"role": "tool", "content": None}], ideal=ODD)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=MESSAGES, ideal=TEXTS)
def test_any_corrected_text_comes_to_training_as_it_was(messages: list[dict[str, Any]], ideal: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        read = taught(World.in_folder(Path(name)), Path(name), messages, ideal)
    kept = ideal.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    if read is None:
        assert not kept.strip()
        return
    assert read.prompt == [{"role": m["role"], "content": content_text(m["content"])} for m in messages]
    assert read.answer == kept


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}, "of type 'image_url'"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {}}]}, "it calls tools"),
        ({"role": "critic", "content": "no"}, "its role is 'critic'"),
    ],
)
def test_what_training_could_not_read_is_refused_with_the_reason(
    tmp_path: Path, message: dict[str, Any], why: str
) -> None:
    world = World.in_folder(tmp_path)
    assert taught(world, tmp_path, [{"role": "user", "content": "hi"}, message], "power") is None
    [row] = world.rows(CorrectionRow)
    assert row.refusal == "not_text"
    assert "message 2 cannot be rendered as text" in str(row.why)
    assert why in str(row.why)
    assert "discard" in str(row.why)


def test_an_answer_of_tool_calls_is_not_good_but_may_be_replaced_by_a_text(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.answered("a1", "Is the router down?", answer="", tool_calls=[{"id": "c", "function": {"name": "ping"}}])
    world.fill()
    world.verdict("a1", "good", None)
    assert [row.refusal for row in world.rows(CorrectionRow)] == ["not_text"]
    world.verdict("a1", "fix", "yes")
    assert len(world.examples()) == 1


def test_an_example_of_former_days_that_is_not_text_is_left_out_and_named(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompts = world.prompts_in("train")
    for name in ("a1", "a2"):
        world.corrected(name, next(prompts))
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}]
    with world.session() as session:
        sample = repository.sample(session, "a1")
        assert sample is not None
        sample.messages = json.dumps(picture)
        session.add(sample)
    manifest, examples = read_snapshot(
        path_of(take_snapshot(world.engine, tmp_path / "snapshots", "triage", "train").uri)
    )
    [left_out] = [e.example_id for e in world.examples() if e.sample_id == "a1"]
    assert [e.id for e in examples] == manifest["example_ids"] == [e.example_id for e in world.examples()[1:]]
    assert "of type 'image_url'" in manifest["left_out"][left_out]


def test_a_file_that_was_written_by_hand_is_refused_by_its_example(tmp_path: Path) -> None:
    line = {"id": "ex-7", "group": "g", "messages": [{"role": "user", "content": 5}, {"role": "assistant"}]}
    with artifacts.writing(tmp_path / "s", "snapshot", {}) as new:
        (new / "examples.jsonl").write_text(json.dumps(line))
    with pytest.raises(Unusable, match="line 1, example 'ex-7': message 1 cannot be rendered as text"):
        read_snapshot(tmp_path / "s")
