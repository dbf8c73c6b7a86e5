import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.annotation import grouping
from services.annotation.grouping import (
    Neighbour,
    band_rows,
    bands_of,
    folded,
    group_key,
    joining,
    numbers_in,
    question,
    shingles_of,
    similarities,
    split_of,
    text_of,
)
from shared.workloads import Grouping


def user(*turns: str) -> list[dict[str, str]]:
    """A conversation: the user's turns, with an answer between each two."""
    messages = [{"role": "system", "content": "Be brief."}]
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "I see."}]
    return messages[:-1]


def key(*turns: str, **grouping_: object) -> str:
    return group_key(user(*turns), None, Grouping.model_validate(grouping_)).digest


def test_case_spacing_width_and_numbers_do_not_open_another_group() -> None:
    assert key("Ticket 17: router down since 2026-11-20") == key("ticket 1,800:  ROUTER down since １２:３０")


def test_digits_matter_where_the_workload_says_so() -> None:
    assert key("ticket 17 is open", ignore_digits=False) != key("ticket 18 is open", ignore_digits=False)


def test_digits_always_make_another_question() -> None:
    assert question(user("I need 5 kg")) != question(user("I need 50 kg"))
    assert question(user("I need  5 KG")) == question(user("i need 5 kg"))


def test_rewording_the_system_prompt_asks_the_same_question() -> None:
    other = [{"role": "system", "content": "Be long."}, *user("Why?")[1:]]
    assert question(other) == question(user("Why?"))


def test_later_turns_of_a_conversation_stay_in_the_group_of_its_opening() -> None:
    opening = "My printer does not print any more"
    assert key(opening) == key(opening, "Yes, it is on") == key(opening, "No", "Still nothing")


def test_a_greeting_opens_nothing() -> None:
    assert key("hi", "my router is down again") != key("hi", "my printer eats all the paper")


@pytest.mark.parametrize("nothing", [[], [{"role": "user", "content": " "}], [{"role": "assistant", "content": None}]])
def test_where_only_the_system_speaks_its_whole_text_is_the_prompt(nothing: list[dict[str, object]]) -> None:
    def only(text: str, role: str = "system") -> list[dict[str, object]]:
        return [{"role": role, "content": text}, *nothing]

    one, other = only("Write a poem about the sea"), only("Write a poem about the sun and the moon")
    for prompt in (lambda m: group_key(m, None, Grouping()).text, question):
        assert prompt(one) != prompt(other)
        assert prompt(one) == prompt(only("write  a poem about THE SEA"))
    assert group_key(only("Write a poem", "developer"), None, Grouping()).text == "write a poem"


def test_the_application_may_name_the_group() -> None:
    by_key = Grouping(key="metadata.group")
    one = group_key(user("one thing"), " customer-7 ", by_key)
    assert one.digest == group_key(user("another thing"), "customer-7", by_key).digest
    assert one.from_application
    assert group_key(user("one thing"), None, by_key).digest == key("one thing")


def test_a_group_name_and_a_prompt_of_the_same_words_are_two_groups() -> None:
    assert group_key(user("customer"), "customer", Grouping(key="metadata.group")).digest != key("customer")


def test_pictures_count_in_what_was_asked() -> None:
    def shows(url: str) -> list[dict[str, object]]:
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        return [{"role": "user", "content": parts}]

    assert question(shows("a.png")) != question(shows("b.png"))
    assert text_of(None) == ""


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_has_a_group_and_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert len(key(text)) == 24
    assert len(bands_of(shingles_of(text), 7)) == 18


def test_the_share_of_holdout_groups_is_the_one_asked_for() -> None:
    held_out = sum(split_of(f"{n:024x}", 0.2) == "holdout" for n in range(5000))
    assert 0.18 < held_out / 5000 < 0.22


def test_a_split_never_changes() -> None:
    """These are kept for ever: if this fails, every deployment's holdout leaks into its training."""
    assert [split_of(key(text), 0.5) for text in ("router down", "printer on fire", "no network", "vpn")] == [
        "train",
        "holdout",
        "train",
        "holdout",
    ]
    assert key("router down") == "5cee485c089dd6cfd0ac0814"
    assert bands_of(shingles_of("the router in the hall is down"), 7)[:2] == [-4276059422994564473, 3922618756479550537]


def test_jaccard_is_the_share_of_common_shingles() -> None:
    a, b = shingles_of("a b c d e"), shingles_of("a b c d f")
    assert similarities(a, [b, a]) == [2 / 4, 1.0]


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.integers(0, 40), min_size=1), st.lists(st.sets(st.integers(0, 40), min_size=1), min_size=1, max_size=5)
)
def test_jaccard_agrees_with_sets(one: set[int], others: list[set[int]]) -> None:
    def shingles(values: set[int]) -> grouping.Shingles:
        return np.array(sorted(values), dtype=np.uint64)

    expected = [len(one & other) / len(one | other) for other in others]
    assert similarities(shingles(one), [shingles(o) for o in others]) == pytest.approx(expected)


def test_jaccard_of_very_long_texts_is_estimated_closely() -> None:
    words = [f"w{n}" for n in range(20_000)]
    a, b = shingles_of(" ".join(words)), shingles_of(" ".join(words[:18_000] + [f"x{n}" for n in range(2_000)]))
    [score] = similarities(a, [b])
    assert len(a) == grouping.SKETCH_SIZE
    assert score == pytest.approx(18_000 / 22_000, abs=0.03)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    rows, rng, found = band_rows(threshold), random.Random(3), 0
    common = round(200 * threshold)
    for _ in range(200):
        shared = [rng.getrandbits(64) for _ in range(common)]
        rest = [rng.getrandbits(64) for _ in range(200 - common)]
        a = np.array(sorted(shared + rest[::2]), dtype=np.uint64)
        b = np.array(sorted(shared + rest[1::2]), dtype=np.uint64)
        found += bool(set(bands_of(a, rows)) & set(bands_of(b, rows)))
    assert found >= 190


def test_texts_without_spaces_between_words_still_have_many_shingles() -> None:
    assert len(shingles_of("路由器今天早上又坏了")) == 8


def test_the_most_similar_group_is_joined() -> None:
    new = shingles_of("a b c d e f g h i j k l")
    near = Neighbour("near", "train", shingles_of("a b c d e f g h i j k m"))
    nearer = Neighbour("nearer", "train", shingles_of("a b c d e f g h i j k l m"))
    assert joining(new, [near, nearer], 0.7).neighbour == nearer
    assert joining(new, [near, nearer], 0.99).neighbour is None


def test_what_resembles_both_sides_of_the_border_is_told_apart() -> None:
    new = shingles_of("a b c d e f g h i j k l")
    twins = [Neighbour(split, split, shingles_of("a b c d e f g h i j k l m")) for split in ("train", "holdout")]
    assert joining(new, twins, 0.7).straddles
    assert not joining(new, twins[:1], 0.7).straddles


def test_dates_and_amounts_are_numbers() -> None:
    assert numbers_in("1,200.50 EUR on 2026-11-20") == ["1,200.50", "2026-11-20"]
