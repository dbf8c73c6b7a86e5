"""What a scorer says about one answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    score: float  # 0-1; graded where the scorer can see parts
    exact: bool  # nothing is missing, wrong or too much
    fields: dict[str, bool] | None = None  # which expected fields are right
    schema_valid: bool | None = None  # None where no schema was given
