"""Guards of slices, of length and of time."""

from services.promotion.answer_guards import guard_latency, guard_length
from services.promotion.guards import Guard
from services.promotion.measurement import Item
from services.promotion.slice_guards import guard_must_pass, guard_slices


def sliced(name: str, right: int, n: int) -> list[Item]:
    return [Item(f"{name}-{i}", f"{name}-{i}", float(i < right), i < right, slice=name) for i in range(n)]


def guards(champion: list[Item], candidate: list[Item], margin: float = 0.08, least: int = 100) -> dict[str, Guard]:
    return {guard.name: guard for guard in guard_slices(champion, candidate, margin, least)}


def test_a_large_slice_that_did_not_fall_passes() -> None:
    found = guards(sliced("de", 90, 150) + sliced("en", 90, 150), sliced("de", 95, 150) + sliced("en", 100, 150))
    assert [g.passed for g in found.values()] == [True, True]


def test_a_slice_that_fell_fails_although_the_others_gained() -> None:
    found = guards(sliced("de", 120, 150) + sliced("en", 60, 150), sliced("de", 90, 150) + sliced("en", 150, 150))
    assert found["slice de"].passed is False
    assert "slice 'de' fell from 80.0% to 60.0% of 150 prompt groups, the margin is 8 points" in found["slice de"].why
    assert next(iter(found)) == "slice de"  # the worst leads


def test_a_large_slice_that_cannot_prove_it_holds_the_verdict_up() -> None:
    found = guards(sliced("de", 100, 110) + sliced("en", 50, 110), sliced("de", 93, 110) + sliced("en", 90, 110))
    assert (found["slice de"].passed, found["slice de"].blocks) == (None, True)


def test_a_small_slice_never_holds_up_a_verdict_but_is_told() -> None:
    found = guards(sliced("rare", 5, 5) + sliced("en", 90, 150), sliced("rare", 4, 5) + sliced("en", 100, 150))
    assert found["small slices"].passed is None
    assert not found["small slices"].blocks
    assert "1 slice(s) with fewer than 100 prompt groups" in found["small slices"].why
    assert "'rare'" in found["small slices"].why


def test_a_small_slice_that_collapsed_fails() -> None:
    found = guards(sliced("rare", 9, 9) + sliced("en", 90, 150), sliced("rare", 1, 9) + sliced("en", 100, 150))
    assert found["slice rare"].passed is False


def test_one_lost_item_of_one_is_no_proof() -> None:
    found = guards(sliced("rare", 1, 1) + sliced("en", 90, 150), sliced("rare", 0, 1) + sliced("en", 100, 150))
    assert all(guard.passed is not False for guard in found.values())


def test_one_slice_alone_is_the_holdout_and_asks_for_nothing() -> None:
    assert guards(sliced("de", 90, 150), sliced("de", 10, 150)) == {}


def test_twenty_equal_slices_seldom_raise_a_false_alarm() -> None:
    """200 equal candidates that disagree on a fifth of 20 slices of 15 groups: 5 % promised, and far less found."""
    import numpy as np

    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        champion, candidate = [], []
        for name in range(20):
            before = rng.random(15) < 0.7
            after = before ^ (rng.random(15) < 0.2)
            for place in range(15):
                one = f"{name}-{place}"
                champion.append(Item(one, one, float(before[place]), bool(before[place]), slice=str(name)))
                candidate.append(Item(one, one, float(after[place]), bool(after[place]), slice=str(name)))
        alarms += any(guard.passed is False for guard in guard_slices(champion, candidate, 0.08, 100))
    assert alarms <= 20


def test_in_a_slice_that_must_pass_one_wrong_answer_is_too_many() -> None:
    assert [g.passed for g in guard_must_pass(sliced("safety", 30, 30), ["safety"])] == [True]
    found = guard_must_pass(sliced("safety", 29, 30), ["safety"])[0]
    assert (found.passed, found.candidate) == (False, 1.0)
    assert "'safety-29'" in found.why


def long(length: float, expected: float | None = None, seconds: float | None = None) -> list[Item]:
    return [Item(str(i), str(i), 1.0, True, length=length, expected_length=expected, seconds=seconds) for i in range(9)]


def test_answers_may_grow_or_shrink_by_three_tenths() -> None:
    for length, passed in ((130, True), (131, False), (70, True), (69, False)):
        found = guard_length(long(100), long(length), 0.3)
        assert found is not None
        assert found.passed is passed


def test_answers_may_change_further_towards_what_experts_write() -> None:
    found = guard_length(long(400, 40), long(42, 40), 0.3)
    assert found is not None
    assert found.passed
    away = guard_length(long(42, 40), long(400, 40), 0.3)
    assert away is not None
    assert away.passed is False


def test_without_lengths_or_times_nothing_is_asked() -> None:
    items = [Item("a", "a", 1.0, True)]
    assert guard_length(items, items, 0.3) is None
    assert guard_latency(items, items, 1.2) is None


def test_answers_may_take_a_fifth_longer() -> None:
    for seconds, passed in ((1.2, True), (1.21, False), (0.1, True)):
        found = guard_latency(long(1, seconds=1.0), long(1, seconds=seconds), 1.2)
        assert found is not None
        assert found.passed is passed
