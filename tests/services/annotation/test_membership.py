import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.annotation import membership
from services.annotation.counts import figures
from services.annotation.grouping import band_rows, group_key, shingles_of, similarities, split_of
from services.annotation.tables import BandRow, GroupRow, PromptRow
from shared.workloads import Grouping
from tests.services.annotation.annotation_world import World, a_question, a_workload

pytestmark = pytest.mark.usefixtures("database")

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


def by_application(folder: Path, **grouping: object) -> World:
    return World.in_folder(folder, triage=a_workload(grouping={"key": "metadata.group", **grouping}))


def keys_of(side: str) -> Iterator[str]:
    """metadata.group keys whose groups fall on this side."""
    for number in itertools.count():
        key = group_key([], f"customer-{number}", Grouping(key="metadata.group"))
        if split_of(key.digest, 0.5) == side:
            yield f"customer-{number}"


@pytest.mark.parametrize(("first", "then"), [("train", "holdout"), ("holdout", "train")])
@pytest.mark.parametrize("tail", ["", " thanks"])
def test_a_prompt_under_several_keys_is_shown_on_the_side_that_saw_it_first(
    tmp_path: Path, first: str, then: str, tail: str
) -> None:
    world, same, other = by_application(tmp_path), keys_of(first), keys_of(then)
    home = world.answered("a1", LONG, group=next(same))
    away = [world.answered(f"b{n}", LONG + tail, group=next(other)) for n in range(2)]
    assert (home.split, home.straddles, home.state) == (first, False, "nominated")
    assert [(s.split, s.straddles, s.state) for s in away] == [(then, True, "stored")] * 2
    assert len({home.group_id, *(s.group_id for s in away)}) == 3
    back = world.answered("c1", LONG, group=next(same))
    assert (back.split, back.straddles, back.state) == (first, False, "nominated")
    assert world.answered("d1", a_question(7), group="customer-9").straddles is False


def test_one_that_is_shown_to_nobody_keeps_nobody_else_away(tmp_path: Path) -> None:
    world = by_application(tmp_path)
    world.answered("a1", LONG, group=next(keys_of("train")))
    words = LONG.split()
    between, far = " ".join([*words, *"pqrstuv"]), " ".join([*words[8:], *"pqrstuv"])
    assert world.answered("a2", between, group=next(keys_of("holdout"))).straddles
    one, middle, other = (shingles_of(text) for text in (LONG, between, far))
    assert similarities(other, [one])[0] < 0.8 < similarities(other, [middle])[0]
    assert not world.answered("a3", far, group=next(keys_of("train"))).straddles


def test_a_prompt_without_a_key_joins_the_key_that_asked_the_same(tmp_path: Path) -> None:
    world = by_application(tmp_path)
    for side in ("train", "holdout"):
        prompt = f"{LONG} {side} {side}one {side}two"
        prompt = " ".join(f"{side}{word}" for word in prompt.split())
        keyed = world.answered(f"{side}-1", prompt, group=next(keys_of(side)))
        for n, text in enumerate((prompt.upper(), prompt + " thanks")):
            keyless = world.answered(f"{side}-keyless-{n}", text)
            assert (keyless.group_id, keyless.straddles) == (keyed.group_id, False)


def test_a_key_that_asks_what_was_asked_without_a_key_stays_on_that_side(tmp_path: Path) -> None:
    world = by_application(tmp_path)
    keyless = world.answered("a1", LONG)
    assert [world.answered(side, LONG, group=next(keys_of(side))).straddles for side in ("train", "holdout")] == [
        keyless.split != "train",
        keyless.split != "holdout",
    ]


def test_conversations_of_two_keys_may_open_alike_and_go_on_differently(tmp_path: Path) -> None:
    world = by_application(tmp_path)

    def conversation(end: str) -> list[dict[str, str]]:
        turns = ["Please help me with my contract", f"{a_question(1)} {end}"]
        return [{"role": "user", "content": turn} for turn in turns]

    for n, side in enumerate(("train", "holdout")):
        messages = conversation(a_question(10 + n) + a_question(20 + n))
        assert not world.answered(side, "", messages=messages, group=next(keys_of(side))).straddles


def test_similarity_of_one_still_finds_the_same_prompt_under_two_keys(tmp_path: Path) -> None:
    world = by_application(tmp_path, similarity=1.0)
    world.answered("a1", LONG, group=next(keys_of("train")))
    assert world.answered("a2", LONG, group=next(keys_of("holdout"))).straddles
    assert not world.answered("a3", LONG + " thanks", group=next(keys_of("holdout"))).straddles
