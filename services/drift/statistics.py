"""The statistics of drift, each from its source. Pure: no clock, no file, no randomness.

Only the distributions (Kolmogorov's, chi-square, normal) are scipy.special's; the tests hold every figure against
scipy.stats. Sources: Kolmogorov-Smirnov, two samples: Smirnov 1939, asymptotic. Jensen-Shannon: Lin 1991. PSI's bias
under no change, (bins - 1)(1/n + 1/m): Yurdakul 2018. Benjamini, Hochberg 1995.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, kolmogorov, ndtr

BINS = 10


@dataclass(frozen=True, slots=True)
class Rate:
    hits: int
    n: int

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else math.nan


def ks_test(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """(largest distance of the two cumulative shares, p-value). Ties make the p-value too large, never too small."""
    first, second = np.sort(reference), np.sort(current)
    places = np.concatenate([first, second])
    below_first = np.searchsorted(first, places, side="right") / len(first)
    below_second = np.searchsorted(second, places, side="right") / len(second)
    distance = float(np.max(np.abs(below_first - below_second)))
    effective = len(first) * len(second) / (len(first) + len(second))
    return distance, float(kolmogorov(math.sqrt(effective) * distance))


def median_shift(reference: np.ndarray, current: np.ndarray) -> float:
    """Change of the median as a share of the reference's; where that is 0, of its mean size; infinite if that is 0."""
    before, after = float(np.median(reference)), float(np.median(current))
    if before == after:
        return 0.0
    size = abs(before) or float(np.mean(np.abs(reference)))
    return (after - before) / size if size else math.copysign(math.inf, after - before)


def corrected_psi(reference: np.ndarray, current: np.ndarray, bins: int = BINS) -> float:
    """Population stability index over the reference's quantiles, less what it is on average when nothing changed."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    held = len(edges) + 1
    # Half an event in each bin, so that an empty one is a number.
    counts = [np.bincount(np.searchsorted(edges, side, side="left"), minlength=held) for side in (reference, current)]
    before, after = ((c + 0.5) / (c.sum() + 0.5 * held) for c in counts)
    psi = float(np.sum((after - before) * np.log(after / before)))
    return max(0.0, psi - (held - 1) * (1 / len(reference) + 1 / len(current)))


def chi_square_test(reference: Mapping[str, int], current: Mapping[str, int]) -> tuple[float, float]:
    """(statistic, p-value) that both come from the same shares; categories expected less than once are put together."""
    table = np.array([[side.get(name, 0) for name in _names(reference, current)] for side in (reference, current)])
    table = _enough_expected(table)
    freedom = table.shape[1] - 1
    if freedom < 1:
        return 0.0, 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return statistic, float(chdtrc(freedom, statistic))


def jensen_shannon(reference: Mapping[str, int], current: Mapping[str, int]) -> float:
    """Distance of two sets of shares, 0 to 1: the root of the divergence in bits."""
    counts = np.array([[side.get(n, 0) for n in _names(reference, current)] for side in (reference, current)], float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    middle = shares.mean(axis=0)
    ratios = np.divide(shares, middle, out=np.ones_like(shares), where=shares > 0)
    return math.sqrt(max(0.0, float(np.sum(shares * np.log2(ratios)) / 2)))


def two_proportions(reference: Rate, current: Rate) -> float:
    """Two-sided p-value that both shares are one, by the pooled normal approximation."""
    pooled = (reference.hits + current.hits) / (reference.n + current.n)
    variance = pooled * (1 - pooled) * (1 / reference.n + 1 / current.n)
    if variance == 0:
        return 1.0
    return float(2 * ndtr(-abs(current.share - reference.share) / math.sqrt(variance)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted for the company it is in; below q means found at a false discovery rate of q."""
    values = np.asarray(p_values, dtype=float)
    m = len(values)
    order = np.argsort(values)
    scaled = values[order] * m / np.arange(1, m + 1)
    adjusted = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    found = np.empty(m)
    found[order] = adjusted
    return [float(value) for value in found]


def _names(*sides: Mapping[str, int]) -> list[str]:
    return sorted({name for side in sides for name in side})


def _enough_expected(table: np.ndarray) -> np.ndarray:
    """Columns in falling order, the rarest put together until each is expected at least once on both sides."""
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    smaller = table.sum(axis=1).min() / table.sum()
    while table.shape[1] > 1 and table[:, -1].sum() * smaller < 1:
        table = np.column_stack([table[:, :-2], table[:, -2:].sum(axis=1)])
    return table
