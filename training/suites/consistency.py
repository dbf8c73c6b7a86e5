"""How steady a version's answers are: several drawn at the workload's own temperature, compared pair by pair. Pure.

Two answers agree when they say the same: the same JSON, the same text, or for scorers that look at something else the
same outcome. The rate is the mean over prompt groups; its interval is Wilson's for as many groups, which is not too
narrow for shares between 0 and 1 either, since none varies more than a yes or no of the same mean.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from training.suites import json_fields
from training.suites.exact import even
from training.suites.score import Score

_Z = 1.959964  # 95 %, two-sided


def samples(scorer: str, temperature: float, answers: Sequence[str], scores: Sequence[Score]) -> dict[str, Any]:
    """What items.jsonl says about one item's drawn answers."""
    said = [_said(scorer, answer, score) for answer, score in zip(answers, scores, strict=True)]
    pairs = list(combinations(said, 2))
    return {
        "temperature": temperature,
        "of": len(answers),
        "right": sum(score.exact for score in scores),
        "agreement": round(sum(a == b for a, b in pairs) / len(pairs), 6),
        "scores": [score.score for score in scores],
        "answers": list(answers),
    }


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The suite's agreement rate with its 95 % interval; None when nothing was drawn."""
    by_group: dict[str, list[float]] = defaultdict(list)
    drawn = [row for row in rows if row.get("samples")]
    for row in drawn:
        by_group[row["group"]].append(row["samples"]["agreement"])
    if not drawn:
        return None
    rate = math.fsum(math.fsum(of) / len(of) for of in by_group.values()) / len(by_group)
    low, high = _wilson(rate, len(by_group))
    return {
        "agreement": round(rate, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "groups": len(by_group),
        "answers_per_item": drawn[0]["samples"]["of"],
        "temperature": drawn[0]["samples"]["temperature"],
        "right_in_all": sum(row["samples"]["right"] == row["samples"]["of"] for row in drawn),
        "right_in_none": sum(row["samples"]["right"] == 0 for row in drawn),
    }


def _said(scorer: str, answer: str, score: Score) -> str:
    if scorer == "exact":
        return even(answer)
    if scorer == "json_fields":
        return json_fields.canonical(answer) or even(answer)
    return str(score.exact)


def _wilson(rate: float, n: int) -> tuple[float, float]:
    middle = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
