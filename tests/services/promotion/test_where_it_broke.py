"""What got worse, and what it has in common: told where chance does not explain it, and not else."""

from random import Random

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from services.promotion.measurement import Item
from services.promotion.where_it_broke import benjamini_hochberg, fisher_p, where_it_broke

FILL = "please help with my order the parcel shop said it would come on a day last week but nothing did"


def prompt(seed: int, *words: str) -> str:
    rng = Random(seed)
    return " ".join([*rng.sample(FILL.split(), 8), *words])


def item(number: int, right: float, **more: str) -> Item:
    said = {"prompt": prompt(number), **more}
    return Item(f"i{number:03}", f"g{number:03}", float(right), right == 1, **said)  # type: ignore[arg-type]


def test_the_items_their_slices_and_the_words_they_share_are_told() -> None:
    broken = range(20)
    before = [
        item(n, 1, slice="refund" if n < 30 else "else", prompt=prompt(n, *(["gift", "card"] if n < 20 else [])))
        for n in range(200)
    ]
    after = [i._replace(score=float(n not in broken), exact=n not in broken) for n, i in enumerate(before)]
    found = where_it_broke(before, after)
    assert found.items == tuple(f"i{n:03}" for n in broken)
    assert (found.groups, found.right_before) == (20, 200)
    assert [(s.slice, s.right_before, s.broken) for s in found.slices] == [("refund", 30, 20)]
    assert found.slices[0].q_value < 1e-10
    told = found.words[0]
    assert (told.words, told.broken, told.held) == ("gift card", 20, 0)
    assert told.odds == pytest.approx(20.5 * 180.5 / (0.5 * 0.5))
    assert told.p_value <= told.q_value < 1e-10


def test_what_was_wrong_before_cannot_break_and_what_got_better_is_no_break() -> None:
    before = [item(0, 0), item(1, 0), item(2, 1)]
    after = [item(0, 0), item(1, 1), item(2, 1)]
    found = where_it_broke(before, after)
    assert (found.items, found.right_before, found.words) == ((), 1, ())


def test_one_broken_item_breaks_its_group_and_a_copied_prompt_counts_once() -> None:
    before = [item(n, 1, prompt="gift card")._replace(group="one") for n in range(50)] + [item(90, 1), item(91, 1)]
    after = [i._replace(score=0.0, exact=False) if i.group == "one" else i for i in before]
    found = where_it_broke(before, after)
    assert (len(found.items), found.groups, found.right_before) == (50, 1, 3)
    assert found.words == ()


def test_graded_scores_break_by_a_fifth() -> None:
    before = [item(0, 0.9), item(1, 0.9), item(2, 0.1)]
    after = [item(0, 0.75), item(1, 0.7), item(2, 0.0)]
    assert where_it_broke(before, after).items == ("i001",)


def test_an_answer_that_ended_in_an_error_is_broken() -> None:
    assert where_it_broke([item(0, 1)], [item(0, 1)._replace(error="too long")]).items == ("i000",)


def test_without_prompts_no_words_are_told() -> None:
    before = [item(n, 1)._replace(prompt=None) for n in range(9)]
    found = where_it_broke(before, [i._replace(score=0.0, exact=False) for i in before])
    assert (found.prompts, found.words, found.tested) == (False, (), 0)


def test_words_that_broke_by_chance_are_told_in_few_of_many_worlds() -> None:
    told = 0
    for world in range(100):
        rng = np.random.default_rng(world)
        before = [item(n, 1, prompt=prompt(1000 * world + n)) for n in range(150)]
        lost = rng.random(150) < 0.15
        after = [i._replace(score=float(not b), exact=not b) for i, b in zip(before, lost, strict=True)]
        told += bool(where_it_broke(before, after).words)
    assert told <= 10  # 5 are promised; the tests are discrete, so fewer come


@pytest.mark.parametrize("seed", range(50))
def test_fishers_p_and_the_false_discoveries_agree_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    total = int(rng.integers(2, 300))
    of, everywhere = (int(rng.integers(1, total + 1)) for _ in range(2))
    here = int(rng.hypergeometric(everywhere, total - everywhere, of)) if everywhere < total else of
    table = [[here, of - here], [everywhere - here, total - of - everywhere + here]]
    assert fisher_p(here, of, everywhere, total) == pytest.approx(fisher_exact(table, "greater").pvalue, rel=1e-8)
    p_values = rng.random(20) ** 3
    assert benjamini_hochberg(list(p_values)) == pytest.approx(list(false_discovery_control(p_values)))
