from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from services.annotation.desk import Item, Verdict
from services.annotation.filling import collect, fill
from services.annotation.tables import ExampleRow
from shared.errors import Unavailable
from tests.services.annotation.annotation_world import World, a_workload

pytestmark = pytest.mark.usefixtures("database")


class FarDesk:
    """A desk somewhere else: items are pushed to it, verdicts are pulled from it, and it can be away."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.given: list[Verdict] = []
        self.away = False

    def push(self, items: Sequence[Item]) -> Mapping[str, str]:
        if self.away:
            raise Unavailable("the desk is away")
        self.items.update({item.sample_id: item for item in items})
        return {}

    def push_for_review(self, items: Sequence[tuple[Item, str]]) -> Mapping[str, str]:
        raise AssertionError("nobody disagrees here")

    def pull(self) -> Sequence[Verdict]:
        return list(self.given)


def small_world(folder: Path, budget: int = 4) -> World:
    selection = {"daily_budget": budget, "audit_share": 1.0}
    return World.in_folder(folder, triage=a_workload(selection=selection))


def waiting(world: World) -> set[str]:
    return {answer_id for answer_id, state in world.states().items() if state == "waiting"}


def fill_both_sides(world: World, each: int) -> None:
    for split in ("train", "holdout"):
        prompts = world.prompts_in(split)
        for n in range(each):
            world.answered(f"{split}-{n}", next(prompts))


def test_a_day_s_budget_is_shared_between_the_sides(tmp_path: Path) -> None:
    world = small_world(tmp_path)
    fill_both_sides(world, 5)
    assert world.fill() == 4
    assert sorted(answer_id.split("-")[0] for answer_id in waiting(world)) == ["holdout", "holdout", "train", "train"]
    assert world.fill() == 0


def test_what_the_budget_left_goes_to_the_desk_tomorrow(tmp_path: Path) -> None:
    world = small_world(tmp_path)
    fill_both_sides(world, 5)
    world.fill()
    world.clock.append("2026-11-21T00:00:00.000000Z")
    assert world.fill() == 4
    assert len(waiting(world)) == 8


def test_neither_side_takes_what_the_other_leaves(tmp_path: Path) -> None:
    world = small_world(tmp_path)
    prompts = world.prompts_in("train")
    for n in range(5):
        world.answered(f"train-{n}", next(prompts))
    assert world.fill() == 2


def test_the_disliked_go_first_when_the_budget_is_short(tmp_path: Path) -> None:
    world = small_world(tmp_path)
    prompts = world.prompts_in("train")
    for n in range(6):
        world.answered(f"train-{n}", next(prompts))
    world.disliked("train-2", "f2")
    world.disliked("train-5", "f5")
    world.fill()
    assert waiting(world) == {"train-2", "train-5"}


def test_the_same_question_is_shown_once(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompt = world.prompt_in("train")
    world.answered("a1", prompt)
    world.answered("a2", prompt.upper())
    assert world.fill() == 1
    world.verdict(waiting(world).pop())
    assert world.fill() == 0


def test_a_question_comes_again_when_another_version_is_disliked(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompt = world.prompt_in("train")
    world.corrected("a1", prompt)
    world.answered("a2", prompt, version="triage@3f2a9c01d4e5b6a7")
    assert world.fill() == 0
    world.disliked("a2")
    assert world.fill() == 1


def test_a_holdout_question_never_comes_again_because_it_was_disliked(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompt = world.prompt_in("holdout")
    world.corrected("a1", prompt)
    world.answered("a2", prompt, version="triage@3f2a9c01d4e5b6a7")
    world.disliked("a2")
    assert world.fill() == 0


@pytest.mark.parametrize("split", ["train", "holdout"])
def test_a_question_that_is_asked_again_returns_after_its_days_and_the_house_rule_changes(
    tmp_path: Path, split: str
) -> None:
    selection = {"audit_share": 1.0, "revisit_days": 10}
    world = World.in_folder(tmp_path, triage=a_workload(selection=selection))
    prompt = world.prompt_in(split)
    world.corrected("a1", prompt)
    for day in ("2026-11-21", "2026-11-29"):
        world.clock.append(f"{day}T23:59:59.000000Z")
        world.answered(f"a-{day}", prompt)
        assert world.fill() == 0
    world.clock.append("2026-11-30T00:00:00.000000Z")
    assert world.fill() == 1  # one of the two; the other is the same question
    [again] = waiting(world)
    world.verdict(again, ideal='{"queue": "phones"}')
    [former], [now] = world.examples("retired"), world.examples()
    assert (former.sample_id, now.sample_id, now.split) == ("a1", again, split)
    world.clock.append("2026-12-09T23:59:59.000000Z")
    assert world.fill() == 0
    world.clock.append("2026-12-10T00:00:00.000000Z")
    assert world.fill() == 1


def test_which_holdout_questions_return_does_not_depend_on_answers_or_feedback(tmp_path: Path) -> None:
    def returned(folder: Path, answer: str, disliked: bool) -> list[set[str]]:
        folder.mkdir()
        selection = {"daily_budget": 6, "audit_share": 1.0, "revisit_days": 5}
        world = World.in_folder(folder, triage=a_workload(selection=selection))
        prompts = world.prompts_in("holdout")
        seen = []
        for n in range(6):
            prompt = next(prompts)
            world.answered(f"first-{n}", prompt)
            world.answered(f"again-{n}", prompt, answer=answer, mean_logprob=-9.0 if disliked else -0.01)
            if disliked:
                world.disliked(f"again-{n}", f"f{n}")
        for day in range(20, 30):
            world.clock.append(f"2026-11-{day}T10:00:00.000000Z")
            world.fill()
            seen.append(waiting(world))
            for answer_id in sorted(waiting(world)):
                world.verdict(answer_id)
        return seen

    calm = returned(tmp_path / "calm", '{"queue": "net"}', False)
    assert calm == returned(tmp_path / "loud", "no idea", True)
    assert {len(day) for day in calm} == {0, 3}


def test_an_item_that_is_done_still_takes_a_verdict(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", world.prompt_in("holdout"))
    world.clock.append("2027-11-20T10:00:00.000000Z")
    assert world.desk().submit(Verdict("a1", "fix", '{"queue": "phones"}', frozenset(), "bob", None)).created
    assert [e.state for e in sorted(world.rows(ExampleRow), key=lambda e: e.curated_at)] == ["retired", "active"]


def test_near_duplicates_wait_for_each_other(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    for n in (17, 18, 19):
        world.answered(f"a{n}", f"Ticket {n}: the router is down")
    assert world.fill() == 1
    [first] = waiting(world)
    world.verdict(first)
    assert world.fill() == 1
    assert waiting(world) != {first}


def test_a_desk_that_is_away_loses_nothing(tmp_path: Path) -> None:
    world, desk = World.in_folder(tmp_path), FarDesk()
    world.answered("a1", "router down")
    desk.away = True
    try:
        fill(world.engine, desk, world.workloads, world.now)
        raise AssertionError("the desk was away")
    except Unavailable:
        assert world.states() == {"a1": "nominated"}
    desk.away = False
    assert fill(world.engine, desk, world.workloads, world.now) == 1
    assert desk.items["a1"].messages[-1].content == "router down"


def test_verdicts_of_a_far_desk_are_recorded_once(tmp_path: Path) -> None:
    world, desk = World.in_folder(tmp_path), FarDesk()
    world.answered("a1", "router down")
    fill(world.engine, desk, world.workloads, world.now)
    fix = Verdict("a1", "fix", "power", frozenset(), "ada", None)
    desk.given = [fix, Verdict("nobody", "fix", "power", frozenset(), "ada", None), fix]
    assert collect(world.engine, desk, world.workloads, world.now, "annotation") == 1
    assert collect(world.engine, desk, world.workloads, world.now, "annotation") == 0
    assert len(world.examples()) == 1


def test_an_item_s_place_at_the_desk_tells_nobody_which_side_it_is_on(tmp_path: Path) -> None:
    world, desk = World.in_folder(tmp_path), FarDesk()
    fill_both_sides(world, 20)
    assert fill(world.engine, desk, world.workloads, world.now) == 40
    sides = [sample_id.split("-")[0] for sample_id in desk.items]
    changes = sum(one != other for one, other in pairwise(sides))
    assert changes >= 10  # sorted by side there would be 1


def test_what_the_desk_refuses_does_not_hold_up_the_others(tmp_path: Path) -> None:
    class Picky(FarDesk):
        def push(self, items: Sequence[Item]) -> Mapping[str, str]:
            super().push([item for item in items if item.sample_id != "train-0"])
            return {item.sample_id: "too large" for item in items if item.sample_id == "train-0"}

    world, desk = World.in_folder(tmp_path), Picky()
    fill_both_sides(world, 2)
    fill(world.engine, desk, world.workloads, world.now)
    assert world.states() == {"train-0": "stored", "train-1": "waiting", "holdout-0": "waiting", "holdout-1": "waiting"}
    assert fill(world.engine, desk, world.workloads, world.now) == 0
