from collections import Counter
from pathlib import Path

import pytest

from services.annotation import membership
from services.annotation.counts import figures
from services.annotation.grouping import band_rows, shingles_of, similarities
from services.annotation.tables import BandRow, GroupRow, PromptRow
from tests.services.annotation.annotation_world import World, a_question, a_workload

LONG = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(60))


def test_a_near_duplicate_joins_the_group_for_ever(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    first = world.answered("a1", LONG)
    near = world.answered("a2", LONG + " thanks")
    far = world.answered("a3", LONG[: len(LONG) // 2])
    assert near.group_id == first.group_id
    assert far.group_id != first.group_id


def test_the_index_is_in_the_table_and_so_survives_a_restart(tmp_path: Path) -> None:
    before = World.in_folder(tmp_path).answered("a1", LONG)
    assert World.in_folder(tmp_path).answered("a2", LONG + " thanks").group_id == before.group_id


def test_prompts_that_differ_in_numbers_share_a_group_but_are_two_questions(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    one, other = world.answered("a1", "Ticket 17: router down"), world.answered("a2", "Ticket 18: router down")
    assert (one.group_id, one.text_id) == (other.group_id, other.text_id)
    assert one.question != other.question


def test_two_workloads_never_share_a_group_row(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(), sales=a_workload(gate={"holdout_share": 0.9}))
    for name in ("triage", "sales"):
        world.answered(name, LONG, workload=name)
    assert len(world.rows(PromptRow)) == 2


def test_what_lies_between_two_groups_of_different_sides_is_never_shown(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(grouping={"similarity": 0.6}))
    words = LONG.split()
    # Two texts that are 0.5 alike and a third between them, 0.7 alike to each.
    texts = {f"{tail}": words[:40] + [f"{tail}{n}x" for n in "abcdefghijklmn"] for tail in "pqrstuvw"}
    sides = {tail: world.answered(f"a-{tail}", " ".join(text)).split for tail, text in texts.items()}
    assert set(sides.values()) == {"train", "holdout"}
    one, other = (next(tail for tail, side in sides.items() if side == s) for s in ("train", "holdout"))
    between = words[:40] + texts[one][40:47] + texts[other][40:47]
    scores = similarities(shingles_of(" ".join(between)), [shingles_of(" ".join(texts[t])) for t in (one, other)])
    assert min(scores) > 0.6
    sample = world.answered("between", " ".join(between))
    assert sample.straddles
    assert sample.state == "stored"


def test_similarity_of_one_joins_only_equal_prompts(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(grouping={"similarity": 1.0}))
    assert world.answered("a1", LONG).group_id != world.answered("a2", LONG + " thanks").group_id
    assert world.rows(BandRow) == []


def test_a_changed_similarity_reindexes_what_is_there(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(grouping={"similarity": 0.95}))
    first = world.answered("a1", LONG)
    changed = a_workload(grouping={"similarity": 0.6})
    assert band_rows(0.6) != band_rows(0.95)
    with world.session() as session:
        assert membership.rebuild_bands(session, "triage", changed) == 1
    with world.session() as session:
        assert membership.rebuild_bands(session, "triage", changed) == 0
    world.workloads = {"triage": changed}
    shorter = " ".join(LONG.split()[:48])
    assert world.answered("a2", shorter).group_id == first.group_id


def test_a_band_that_everybody_shares_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templated prompts: what is looked up for one more is bounded, however many there are."""
    monkeypatch.setattr(membership, "BUCKET_GROUPS", 8)
    world = World.in_folder(tmp_path, triage=a_workload(grouping={"similarity": 0.99}))
    for number in range(60):
        world.answered(f"a{number}", f"{LONG} {a_question(number)}")
    in_band = Counter(row.band for row in world.rows(BandRow))
    assert len(world.rows(GroupRow)) == 60
    assert max(in_band.values()) == 8
    with world.session() as session:
        assert figures(session, "triage", "2026-11-20").crowded_prompts > 0


def test_the_application_s_key_groups_whatever_the_words(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(grouping={"key": "metadata.group"}))
    groups = [world.answered(f"a{n}", a_question(n), group="customer-7").group_id for n in range(3)]
    assert len(set(groups)) == 1
    assert world.answered("b", a_question(0), group="customer-8").group_id not in groups
