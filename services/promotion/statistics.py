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


def bootstrap_interval(
    differences: Sequence[float], confidence: float = 0.95, draws: int = DRAWS, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval of the mean over clusters drawn with replacement; one value a cluster."""
    values, counts = _distinct(np.asarray(differences, dtype=float))
    rng = np.random.default_rng(seed)
    resampled = rng.multinomial(len(differences), counts / counts.sum(), size=draws)  # (draws, values)
    means = resampled @ values / len(differences)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _coin(k: int, n: int) -> float:
    """P(k heads in n tosses of a fair coin); by logarithms, since n may be many thousands."""
    return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, counts = np.unique(np.round(values, _ROUNDING), return_counts=True)
    return distinct, counts


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between low (positive) and high (negative); 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return low
