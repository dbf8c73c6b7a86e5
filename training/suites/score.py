"""What a scorer gets and what it says: one attempt at one item, and its score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer to one item."""

    expected: str
    answer: str
    prompt: Sequence[Mapping[str, str]] = ()  # the messages before the answer
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what the item's line says besides


@dataclass(frozen=True, slots=True)
class Score:
    score: float  # 0-1; graded where the scorer can see parts
    exact: bool  # nothing is missing, wrong or too much
    fields: dict[str, bool] | None = None  # which expected fields are right, or which rules are kept
    schema_valid: bool | None = None  # None where no schema was given
    details: dict[str, Any] | None = None  # what else it measured; JSON


Options = Mapping[str, Any]  # complete and checked: shared/scorer_options.py
SchemaCheck = Callable[[Any], bool]
Scorer = Callable[[Attempt], Score]
