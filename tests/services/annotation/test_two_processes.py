"""Two processes of annotation on one database: what one reads still holds when the other has written."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from services.annotation.tables import CorrectionRow, GroupRow, SampleRow
from shared.db import open_database
from tests.databases import of_folder
from tests.services.annotation.annotation_world import World, a_workload

pytestmark = pytest.mark.usefixtures("database")
AT_ONCE = 6
LONG = "The printer on the third floor prints every page twice since the update of last Tuesday, number"


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[list[World]]:
    """As two processes have them."""
    workload = a_workload(selection={"daily_budget": 10, "audit_share": 1.0})
    first = World.in_folder(tmp_path, triage=workload)
    second = World(open_database(of_folder(tmp_path), "annotation"), first.workloads)
    yield [first, second]
    second.engine.dispose()


def at_once(worlds: list[World], act: Callable[[World, int], object]) -> None:
    together = Barrier(AT_ONCE)

    def one(number: int) -> None:
        together.wait()
        act(worlds[number % 2], number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(AT_ONCE)))


def test_near_duplicates_that_come_at_once_are_one_group(worlds: list[World]) -> None:
    at_once(worlds, lambda world, n: world.answered(f"a{n}", f"{LONG} {n}"))
    (group,) = worlds[0].rows(GroupRow)
    assert group.samples == AT_ONCE


def test_one_prompt_that_comes_at_once_is_one_group_and_each_answer_a_sample(worlds: list[World]) -> None:
    at_once(worlds, lambda world, n: world.answered(f"a{n}", LONG))
    (group,) = worlds[0].rows(GroupRow)
    assert group.samples == len(worlds[0].rows(SampleRow)) == AT_ONCE


def test_one_answer_that_is_heard_at_once_is_one_sample(worlds: list[World]) -> None:
    at_once(worlds, lambda world, _n: world.answered("a", LONG))
    assert len(worlds[0].rows(SampleRow)) == 1
    assert worlds[0].rows(GroupRow)[0].samples == 1


def test_verdicts_on_one_sample_that_are_given_at_once_leave_one_that_teaches(worlds: list[World]) -> None:
    worlds[0].answered("a", LONG)
    worlds[0].fill()
    at_once(worlds, lambda world, n: world.verdict("a", ideal=f"ideal {n}"))
    rows = worlds[0].rows(CorrectionRow)
    assert len(rows) == AT_ONCE
    (standing,) = [row for row in rows if row.superseded_by is None]
    (example,) = worlds[0].examples()
    assert example.correction_id == standing.correction_id


def test_desks_that_are_filled_at_once_keep_the_day_s_budget(worlds: list[World]) -> None:
    for number, prompt in zip(range(40), worlds[0].prompts_in("train"), strict=False):
        worlds[0].answered(f"a{number}", prompt)
    at_once(worlds, lambda world, _n: world.fill())
    assert 0 < list(worlds[0].states().values()).count("waiting") <= 10
