"""Whether a classifier can tell the texts of now from those of before: changed topics, language, format. Pure, seeded.

Character runs of 3 to 5 are hashed into 512 places; a logistic regression, trained on four fifths, scores the last
fifth, five times over. The area under its curve is 0.5 where nothing changed. Texts that are alike share a fold, so a
question asked twice is not recognised by heart. The same with the two sides' names shuffled says what chance does.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MOST_CHARACTERS = 2_000  # of one text
MOST_TEXTS = 500  # of each side
PERMUTATIONS = 200
LEAST_AREA = 0.60

_BITS, _RUNS, _FOLDS = 9, (3, 4, 5), 5
_STEPS, _RATE, _PENALTY = 30, 4.0, 0.002
_BLOCK = 25  # shuffles that are fitted at once
_PLACES = 1 << _BITS
_SEED = 20_261_120
_MULTIPLIER, _MIX = np.uint32(16_777_619), np.uint32(2_654_435_769)


@dataclass(frozen=True, slots=True)
class Separation:
    """How well the two sides are told apart, out of fold."""

    area: float
    beyond: bool | None  # every shuffle; None: the area is too small to ask
    p_value: float | None  # 1/(PERMUTATIONS + 1) at least


def separate(reference: Sequence[str], current: Sequence[str], least_area: float = LEAST_AREA) -> Separation:
    """Both sides non-empty, at most MOST_TEXTS of each are looked at: every so-many-th, so all of a window counts."""
    sides = [_spread(reference), _spread(current)]
    texts = [*sides[0], *sides[1]]
    features = np.stack([_hashed(text) for text in texts])  # (texts, places)
    labels = np.repeat([0.0, 1.0], [len(sides[0]), len(sides[1])]).astype(np.float32)
    folds = np.array([zlib.crc32(text.encode("utf-8", "replace")) % _FOLDS for text in texts])
    area = float(_areas(features, labels[:, None], folds)[0])
    if area < least_area:
        return Separation(area, None, None)
    shuffled, reached, drawn = np.random.default_rng(_SEED), 0, 0
    while drawn < PERMUTATIONS and not reached:
        names = np.stack([shuffled.permutation(labels) for _ in range(_BLOCK)], axis=1)  # (texts, shuffles)
        reached += int(np.count_nonzero(_areas(features, names, folds) >= area))
        drawn += _BLOCK
    return Separation(area, not reached, (1 + reached) / (1 + drawn))


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """The chance that a text of now scores above one of before, ties half; 0.5 where a side is empty."""
    positive = labels > 0.5
    first, second = int(positive.sum()), int((~positive).sum())
    if not first or not second:
        return 0.5
    distinct, where = np.unique(scores, return_inverse=True)
    counts = np.bincount(where, minlength=len(distinct))
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[positive].sum() - first * (first + 1) / 2) / (first * second))


def _spread(texts: Sequence[str]) -> list[str]:
    if len(texts) <= MOST_TEXTS:
        return list(texts)
    return [texts[place] for place in np.linspace(0, len(texts) - 1, MOST_TEXTS).astype(int)]


@lru_cache(maxsize=2 * MOST_TEXTS)  # a reference is looked at in every window
def _hashed(text: str) -> np.ndarray:
    """Counts of the character runs, dampened, of length 1."""
    codes = np.frombuffer(text[:MOST_CHARACTERS].lower().encode("utf-32-le", "replace"), dtype=np.uint32)
    counts = np.zeros(_PLACES, dtype=np.float32)
    for length in _RUNS:
        runs = len(codes) - length + 1
        if runs < 1:
            continue
        hashed = np.full(runs, length, dtype=np.uint32)
        for place in range(length):
            hashed = hashed * _MULTIPLIER ^ codes[place : place + runs]
        counts += np.bincount((hashed * _MIX) >> np.uint32(32 - _BITS), minlength=_PLACES)
    dampened = np.log1p(counts)
    size = float(np.linalg.norm(dampened))
    return dampened / size if size else dampened


def _areas(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The out-of-fold area of each column of labels; every fold of every column is fitted at once."""
    columns = labels.shape[1]
    kept = np.stack([folds != fold for fold in range(_FOLDS)], axis=1).astype(np.float32)  # (texts, folds)
    targets = np.repeat(labels, _FOLDS, axis=1)  # (texts, columns * folds)
    scores = features @ _fit(features, targets, np.tile(kept, (1, columns)))
    own = np.array([scores[np.arange(len(folds)), column * _FOLDS + folds] for column in range(columns)])
    return np.array([_mean_area(own[column], labels[:, column], folds) for column in range(columns)])


def _mean_area(scores: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> float:
    """Over the folds, weighed by their texts: scores of different fits are not compared with each other."""
    sizes = np.bincount(folds, minlength=_FOLDS)
    areas = [area_under_curve(scores[folds == fold], labels[folds == fold]) for fold in range(_FOLDS)]
    return float(np.dot(areas, sizes) / sizes.sum())


def _fit(features: np.ndarray, targets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Weights (places, columns) of one penalised logistic regression a column, by Nesterov's accelerated gradient.

    kept: which texts a column may learn from. A fixed number of steps: the same texts, the same weights.
    """
    centred = features - features.mean(axis=0)
    weights = np.zeros((features.shape[1], targets.shape[1]), dtype=np.float32)
    ahead, shares = weights, kept / np.maximum(kept.sum(axis=0), 1)
    offset = np.log(
        np.maximum((targets * shares).sum(axis=0), 1e-6) / np.maximum(((1 - targets) * shares).sum(axis=0), 1e-6)
    )
    for step in range(_STEPS):
        chance = 1 / (1 + np.exp(-(centred @ ahead + offset)))
        after = ahead - _RATE * (centred.T @ ((chance - targets) * shares) + _PENALTY * ahead)
        ahead = after + step / (step + 3) * (after - weights)
        weights = after
    return weights
