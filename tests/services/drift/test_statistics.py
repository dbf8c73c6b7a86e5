"""Every statistic against scipy's, on the kinds of data that drift meets."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from services.drift.statistics import (
    Rate,
    benjamini_hochberg,
    chi_square_test,
    corrected_psi,
    jensen_shannon,
    ks_test,
    median_shift,
    two_proportions,
)


def draws(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("whole", [False, True], ids=["continuous", "with ties"])
def test_kolmogorov_smirnov_is_scipys(shift: float, whole: bool) -> None:
    random = draws(7)
    first, second = random.lognormal(5, 0.6, 2000), random.lognormal(5 + shift, 0.6, 700)
    if whole:
        first, second = first.round(-1), second.round(-1)
    distance, p_value = ks_test(first, second)
    oracle = stats.ks_2samp(first, second, method="asymp")
    assert distance == pytest.approx(oracle.statistic, abs=1e-12)
    # scipy's asymptotic value is finer in the sample size; ours is the limit, a little larger.
    assert p_value == pytest.approx(oracle.pvalue, rel=0.25, abs=1e-12)
    assert p_value >= oracle.pvalue - 1e-12


def test_chi_square_is_scipys() -> None:
    before, now = {"stop": 1800, "length": 150, "tool_calls": 50}, {"stop": 420, "length": 70, "tool_calls": 10}
    oracle = stats.chi2_contingency([[1800, 150, 50], [420, 70, 10]], correction=False)
    assert chi_square_test(before, now) == pytest.approx((oracle.statistic, oracle.pvalue))


def test_categories_too_rare_to_expect_once_are_put_together() -> None:
    rare = {f"r{i}": 1 for i in range(4)}
    statistic, p_value = chi_square_test({"stop": 990, **rare}, {"stop": 496})
    oracle = stats.chi2_contingency([[990, 4], [496, 0]], correction=False)
    assert (statistic, p_value) == pytest.approx((oracle.statistic, oracle.pvalue))


def test_one_category_alone_cannot_have_changed() -> None:
    assert chi_square_test({"stop": 900}, {"stop": 600}) == (0.0, 1.0)


def test_jensen_shannon_is_scipys() -> None:
    before, now = {"stop": 900, "length": 100}, {"stop": 300, "length": 150, "content_filter": 50}
    assert jensen_shannon(before, now) == pytest.approx(jensenshannon([0, 100, 900], [50, 150, 300], base=2))
    assert jensen_shannon(before, before) == 0.0
    assert jensen_shannon({"a": 5}, {"b": 9}) == pytest.approx(1.0)


def test_two_proportions_are_the_square_root_of_scipys_chi_square() -> None:
    oracle = stats.chi2_contingency([[40, 1960], [35, 465]], correction=False)
    assert two_proportions(Rate(40, 2000), Rate(35, 500)) == pytest.approx(oracle.pvalue)
    assert two_proportions(Rate(0, 800), Rate(0, 500)) == 1.0


def test_benjamini_hochberg_is_scipys() -> None:
    p_values = [0.2, 0.0004, 0.03, 1.0, 0.00001, 0.03]
    assert benjamini_hochberg(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))
    assert benjamini_hochberg([]) == []


def test_corrected_psi_of_equal_sides_is_about_nothing_where_the_plain_one_is_not() -> None:
    random, found = draws(3), []
    for _ in range(200):
        found.append(corrected_psi(random.normal(size=100), random.normal(size=100)))  # noqa: PERF401
    assert np.mean(found) < 0.06  # uncorrected: about 0.2


def test_psi_is_the_sum_over_the_references_quantiles() -> None:
    reference, current = np.arange(1000.0), np.arange(500.0)
    # Half of the ten bins keep 100 of 1000 and get 100 of 500, the others lose all.
    before = np.full(10, 100.5) / 1005
    after = np.array([100.5] * 5 + [0.5] * 5) / 505
    plain = float(np.sum((after - before) * np.log(after / before)))
    assert corrected_psi(reference, current) == pytest.approx(plain - 9 * (1 / 1000 + 1 / 500), rel=0.02)


def test_the_medians_shift_is_relative_and_is_told_from_zero_too() -> None:
    assert median_shift(np.array([10.0, 20, 30]), np.array([25.0])) == pytest.approx(0.25)
    assert median_shift(np.array([-2.0, -2, -2]), np.array([-3.0])) == pytest.approx(-0.5)
    assert median_shift(np.array([0.0, 0, 0.3]), np.array([0.05])) == pytest.approx(0.5)
    assert median_shift(np.zeros(5), np.ones(5)) == math.inf
    assert median_shift(np.zeros(5), np.zeros(9)) == 0.0
