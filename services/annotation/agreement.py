"""How well annotators agree, beyond chance: Krippendorff's alpha of their verdicts. Pure.

1 is full agreement, 0 what chance would give, below 0 is worse than chance. An item counts when two or more have
answered it, whoever they are, so annotators need not have seen the same items.
"""

from collections.abc import Mapping

import krippendorff
import numpy as np

from services.annotation.settling import LABELS

Answers = Mapping[str, Mapping[str, str]]  # item -> annotator -> label


def alpha(answers: Answers) -> float | None:
    """None: it says nothing, since no item has two answers, or all answers are the same word."""
    shared = {item: given for item, given in answers.items() if len(given) > 1}
    if len({label for given in shared.values() for label in given.values()}) < 2:
        return None
    row_of = {annotator: n for n, annotator in enumerate(sorted({a for given in shared.values() for a in given}))}
    data = np.full((len(row_of), len(shared)), np.nan)  # (annotator, item)
    for column, given in enumerate(shared.values()):
        for annotator, label in given.items():
            data[row_of[annotator], column] = LABELS.index(label)
    return float(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))


def alpha_of(annotator: str, answers: Answers) -> float | None:
    """One annotator's with all others: over the items that this one has answered."""
    return alpha({item: given for item, given in answers.items() if annotator in given})
