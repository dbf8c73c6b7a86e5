"""The paired statistics of the gate, each from its source; nothing here reads a clock, a file or global randomness.

Random draws are seeded, so the same figures give the same p-value and the same interval for ever.
Sources: mid-p McNemar: Fagerland, Lydersen, Laake 2013. Wilson 1927. Tango 1998 (Statistics in Medicine 17:891).
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

DRAWS = 10_000
SEED = 20_261_120
_TIE = 1e-9  # sums of floats closer than this are equal
_ROUNDING = 12  # decimals at which two differences count as one value
_MOST_DISTINCT = 128  # more values than this are put into as many bins; see `_binned`


def mcnemar_mid_p(only_first: int, only_second: int) -> float:
    """Two-sided mid-p value that the two discordant counts come from one coin; 1.0 when there is none."""
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    fewer = min(only_first, only_second)
    at = _coin(fewer, discordant)
    if only_first == only_second:
        return 1.0 - at / 2
    return min(1.0, 2 * math.fsum(_coin(k, discordant) for k in range(fewer)) + at)


def sign_flip_p(differences: Sequence[float], draws: int = DRAWS, seed: int = SEED) -> float:
    """Two-sided p-value that each cluster's difference is as likely positive as negative; at least 1/(draws + 1)."""
    sizes, counts = _distinct(np.abs(np.asarray(differences, dtype=float)))
    if not np.any(sizes > 0):
        return 1.0
    # A flipped sum varies by the squares, so a bin stands for its clusters by their root mean square.
    sizes, counts = _binned(sizes, counts, power=2)
    # Clusters of one size flip as one binomial: the same distribution as a coin a cluster, in a fraction of the time.
    rng = np.random.default_rng(seed)
    heads = rng.binomial(counts, 0.5, size=(draws, len(counts)))  # (draws, sizes)
    sums = np.abs((2 * heads - counts) @ sizes)  # (draws,)
    observed = abs(math.fsum(differences))
    return (1 + int(np.count_nonzero(sums >= observed - _TIE))) / (draws + 1)


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of one proportion. successes may be a sum of group means; (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def tango_lower_bound(gained: int, lost: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of (second minus first) for paired proportions of n pairs.

    gained: pairs only the second got right; lost: pairs only the first got right. -1 when n is 0.
    """
    if n == 0 or lost == n:
        return -1.0
    z = NormalDist().inv_cdf(confidence)
    return _root(lambda delta: tango_score(gained, lost, n, delta) - z, -1.0, (gained - lost) / n)


def tango_upper_bound(gained: int, lost: int, n: int, confidence: float = 0.95) -> float:
    """The mirror image of `tango_lower_bound`."""
    return -tango_lower_bound(lost, gained, n, confidence)


def tango_score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic for the hypothesis that the true difference is delta; standard normal under it.

    The variance uses the maximum likelihood estimate of P(lost) under that hypothesis.
    """
    a = 2.0 * n
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    p_lost = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * p_lost + delta * (1 - delta))
    above = gained - lost - n * delta
    if variance <= 0:
        return 0.0 if above == 0 else math.copysign(math.inf, above)
    return above / math.sqrt(variance)


def tango_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided score interval of (second minus first): never a point, also where all pairs agree."""
    one_sided = (1 + confidence) / 2
    return tango_lower_bound(gained, lost, n, one_sided), tango_upper_bound(gained, lost, n, one_sided)


def bootstrap_interval(
    differences: Sequence[float], confidence: float = 0.95, draws: int = DRAWS, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval of the mean over clusters drawn with replacement; one value a cluster, from -1 to 1.

    One cluster more stands at each end of the scale, -1 and 1. Without them clusters that are all alike would give an
    interval without width; with them it is about as wide as Tango's where nothing changed, and they weigh 2 in n + 2.
    """
    values, counts = _distinct(np.asarray([*differences, -1.0, 1.0], dtype=float))
    values, counts = _binned(values, counts, power=1)
    rng = np.random.default_rng(seed)
    n = int(counts.sum())
    resampled = rng.multinomial(n, counts / n, size=draws)  # (draws, values)
    low, high = np.quantile(resampled @ values / n, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _coin(k: int, n: int) -> float:
    """P(k heads in n tosses of a fair coin); by logarithms, since n may be many thousands."""
    return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, counts = np.unique(np.round(values, _ROUNDING), return_counts=True)
    return distinct, counts


def _binned(values: np.ndarray, counts: np.ndarray, power: int) -> tuple[np.ndarray, np.ndarray]:
    """At most _MOST_DISTINCT values, each the power mean of its bin; few values stay as they are.

    A bin is at most 1/64 wide, so what a bin hides is a standard deviation of 0.008 at most, and draws over 100,000
    values cost no more than over 128.
    """
    if len(values) <= _MOST_DISTINCT:
        return values, counts
    edges = np.linspace(values[0], values[-1], _MOST_DISTINCT + 1)[1:-1]
    bins = np.digitize(values, edges)
    sums = np.bincount(bins, weights=counts * values**power, minlength=_MOST_DISTINCT)
    held = np.bincount(bins, weights=counts, minlength=_MOST_DISTINCT)
    kept = held > 0
    return (sums[kept] / held[kept]) ** (1 / power), held[kept].astype(np.int64)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between low (positive) and high (negative); 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return low
