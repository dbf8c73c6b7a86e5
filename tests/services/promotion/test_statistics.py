"""Each statistic against brute force, exact enumeration or scipy: never against itself."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from services.promotion import statistics


def _mid_p_by_enumeration(first: int, second: int) -> float:
    """Every outcome at least as far from the middle; those exactly as far count half."""
    n = first + second
    far = abs(first - n / 2)
    distances = [(abs(k - n / 2), float(stats.binom.pmf(k, n, 0.5))) for k in range(n + 1)]
    return sum(p if d > far else p / 2 for d, p in distances if d >= far)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 1), (0, 7), (3, 9), (9, 3), (12, 12), (40, 61)])
def test_mcnemar_mid_p_is_what_enumeration_says(first: int, second: int) -> None:
    assert statistics.mcnemar_mid_p(first, second) == pytest.approx(_mid_p_by_enumeration(first, second), rel=1e-9)


def test_mcnemar_mid_p_agrees_with_the_example_of_its_authors() -> None:
    # Fagerland, Lydersen, Laake 2013: airway hyper-responsiveness of 21 children, discordant 1 and 7.
    assert statistics.mcnemar_mid_p(1, 7) == pytest.approx(0.039, abs=5e-4)


def test_without_a_discordant_group_there_is_no_evidence() -> None:
    assert statistics.mcnemar_mid_p(0, 0) == 1.0
    assert statistics.sign_flip_p([0.0] * 20) == 1.0


def test_many_thousand_discordant_groups_are_no_problem() -> None:
    assert 0 <= statistics.mcnemar_mid_p(40_000, 60_000) < 1e-300
    assert statistics.mcnemar_mid_p(50_000, 50_000) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "differences",
    [[0.5, 0.25, -0.2, 0.6, 0.0, 1.0, 0.4], [0.1, -0.1, 0.2, -0.3], [1 / 3, 2 / 3, 1 / 3, 2 / 3, -1 / 3, 1.0, 1.0]],
)
def test_sign_flipping_agrees_with_all_flips_enumerated(differences: list[float]) -> None:
    observed = abs(sum(differences))
    flips = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in flips]
    exact = sum(s >= observed - 1e-9 for s in sums) / len(sums)
    assert statistics.sign_flip_p(differences, draws=100_000) == pytest.approx(exact, abs=0.006)


def test_the_same_figures_give_the_same_p_value_and_interval() -> None:
    differences = [0.2, 0.0, -0.4, 0.6, 0.2, 0.8]
    assert statistics.sign_flip_p(differences) == statistics.sign_flip_p(differences)
    assert statistics.bootstrap_interval(differences) == statistics.bootstrap_interval(differences)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (73, 100), (100, 100), (299, 300)])
def test_wilsons_interval_is_scipys(successes: int, n: int) -> None:
    low, high = statistics.wilson_interval(successes, n)
    known = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-9)


def test_wilsons_interval_of_nothing_is_everything() -> None:
    assert statistics.wilson_interval(0, 0) == (0.0, 1.0)


def _tango_by_inversion(gained: int, lost: int, n: int, confidence: float) -> float:
    """The bound from the definition: the likelihood maximised numerically under each difference, the test inverted."""
    z = stats.norm.ppf(confidence)
    both = n - gained - lost

    def negative_likelihood(p_lost: float, delta: float) -> float:
        p_gained = p_lost + delta
        rest = 1 - p_lost - p_gained
        terms = ((gained, p_gained), (lost, p_lost), (both, rest))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    def statistic(delta: float) -> float:
        low, high = max(0.0, -delta), (1 - delta) / 2
        found = optimize.minimize_scalar(
            negative_likelihood, bounds=(low, high), args=(delta,), method="bounded", options={"xatol": 1e-12}
        )
        variance = n * (2 * found.x + delta - delta**2)
        return float((gained - lost - n * delta) / math.sqrt(max(variance, 1e-12)) - z)

    return float(optimize.brentq(statistic, -0.999, (gained - lost) / n - 1e-6))


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(3, 5, 300), (1, 8, 60), (0, 4, 300), (12, 2, 50), (20, 30, 600), (7, 25, 180)]
)
def test_tangos_bound_is_the_inverted_test(gained: int, lost: int, n: int) -> None:
    found = statistics.tango_lower_bound(gained, lost, n)
    assert found == pytest.approx(_tango_by_inversion(gained, lost, n, 0.95), abs=2e-4)


@pytest.mark.parametrize("n", [20, 100, 300])
def test_tangos_bound_without_a_change_has_a_closed_form(n: int) -> None:
    # b = c = 0: n delta^2 / (-delta - delta^2 + ...) reduces to delta = -z^2 / (n + z^2).
    z2 = float(stats.norm.ppf(0.95)) ** 2
    assert statistics.tango_lower_bound(0, 0, n) == pytest.approx(-z2 / (n + z2), abs=1e-9)


def test_tangos_bounds_mirror_each_other() -> None:
    assert statistics.tango_upper_bound(4, 9, 120) == -statistics.tango_lower_bound(9, 4, 120)
    assert statistics.tango_lower_bound(4, 9, 120) < -5 / 120 < statistics.tango_upper_bound(4, 9, 120)


def test_tangos_bound_at_the_edges_stays_a_difference() -> None:
    assert statistics.tango_lower_bound(0, 0, 0) == -1.0
    assert statistics.tango_lower_bound(0, 10, 10) == -1.0
    assert -1 <= statistics.tango_lower_bound(10, 0, 10) < 1


def test_tangos_bound_holds_what_it_promises() -> None:
    rng = np.random.default_rng(4)
    truth = -0.03
    draws = rng.multinomial(300, [0.02, 0.05, 0.93], size=1500)
    above = sum(statistics.tango_lower_bound(int(g), int(c), 300) > truth for g, c, _ in draws)
    assert above / 1500 < 0.065  # 5 % promised, three standard errors allowed


def test_the_bootstrap_interval_agrees_with_plain_resampling_of_all_groups_and_the_ends() -> None:
    rng = np.random.default_rng(1)
    differences = rng.choice([-0.4, 0.0, 0.2, 0.6], size=80)
    plain = rng.choice([*differences, -1.0, 1.0], size=(20_000, 82)).mean(axis=1)
    expected = np.quantile(plain, [0.025, 0.975])
    assert statistics.bootstrap_interval(list(differences)) == pytest.approx(tuple(expected), abs=0.006)


def test_a_hundred_thousand_groups_take_no_time() -> None:
    differences = list(np.random.default_rng(0).choice([-1.0, -0.2, 0.0, 0.2, 1.0], size=100_000))
    assert statistics.sign_flip_p(differences) > 0.001
    low, high = statistics.bootstrap_interval(differences)
    assert low < high


def test_tangos_interval_agrees_with_published_ones() -> None:
    # Tango 1998, soft contact lenses: 44 patients, one pair discordant; 90 %.
    assert statistics.tango_interval(0, 1, 44, 0.90) == pytest.approx((-0.096, 0.037), abs=6e-4)
    # Fagerland, Lydersen, Laake 2014, airway reactivity of 21 children.
    assert statistics.tango_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=6e-4)


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 0, 50), (50, 0, 50), (0, 50, 50), (1, 0, 1)])
def test_the_interval_of_pairs_that_all_agree_has_a_width(gained: int, lost: int, n: int) -> None:
    low, high = statistics.tango_interval(gained, lost, n)
    assert high - low > 0.05
    assert -1 <= low <= (gained - lost) / n <= high <= 1


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3, 1.0])
def test_the_interval_of_groups_that_are_all_alike_has_a_width(value: float) -> None:
    low, high = statistics.bootstrap_interval([value] * 100)
    assert low <= value <= high
    assert 0.01 < high - low < 0.1


def test_a_rare_collapse_is_inside_the_graded_interval_as_often_as_promised() -> None:
    """2 % of the groups fall by a whole point: plain resampling sees none of them in 13 % of the holdouts of 100."""
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        differences = np.where(rng.random(100) < 0.02, -1.0, 0.01)
        low, high = statistics.bootstrap_interval(list(differences), draws=2000)
        covered += low <= 0.98 * 0.01 - 0.02 <= high
    assert covered / 300 > 0.92


def test_a_hundred_thousand_different_values_take_no_time_either() -> None:
    differences = np.random.default_rng(0).normal(0.002, 0.2, 100_000).clip(-1, 1)
    low, high = statistics.bootstrap_interval(list(differences))
    half = 1.96 * float(differences.std()) / math.sqrt(100_000)
    assert (low, high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=1e-4)
    t = float(differences.sum()) / math.sqrt(float((differences**2).sum()))
    assert statistics.sign_flip_p(list(differences)) == pytest.approx(2 * stats.norm.sf(abs(t)), abs=0.01)
