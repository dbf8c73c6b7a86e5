"""A workload's policy of the gate: `[workloads.NAME.gate]` of ratchet.toml, or the policy file of `ratchet gate`.

Alone in its module since `ratchet gate` reads it without a deployment.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationInfo, field_validator

from shared.text import Text

Share = Annotated[float, Field(ge=0, le=1)]
DECISIONS = 5  # that a holdout version carries unless alpha_budget says otherwise


class Gate(BaseModel):
    """What a candidate must show before it serves."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    alpha_budget: Annotated[float, Field(gt=0, le=1)] | None = None  # of one holdout version; None: 5 x alpha
    holdout_growth: Annotated[float, Field(gt=0)] = 0.25  # new groups, as a share, that bring a new budget
    floor: Share = 0.03  # the least observed gain on the holdout
    min_groups: Annotated[int, Field(ge=20)] = 200
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    general_margin: Share = 0.03  # how much general ability may fall
    slice_margin: Share = 0.08  # how much one slice of the holdout may fall
    slice_min_groups: Annotated[int, Field(ge=1)] = 100  # a smaller slice need not prove that it did not fall
    must_pass: Annotated[
        tuple[Text, ...], Strict(False)
    ] = ()  # slices in which every answer has to be right, such as a safety list
    length_change: Annotated[float, Field(gt=0)] = 0.3  # of the median answer's length, up or down
    latency_ratio: Annotated[float, Field(gt=1)] = 1.2  # of the 95th percentile; where answers were timed

    @property
    def budget(self) -> float:
        """What all decisions on one holdout version may spend together."""
        return min(1.0, DECISIONS * self.alpha) if self.alpha_budget is None else self.alpha_budget

    @field_validator("alpha_budget")
    @classmethod
    def _pays_for_one_decision(cls, value: float | None, info: ValidationInfo) -> float | None:
        alpha = info.data.get("alpha")
        if value is not None and alpha is not None and value < alpha:
            raise ValueError(f"should be at least alpha ({alpha:g}), or no decision is ever paid for")
        return value
