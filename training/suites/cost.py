"""What answers cost: tokens, seconds of device time, and money by the price table of `ratchet.toml`. Pure.

The device time of an answer is its share of the batch it was made in; loading the model is not in it, nor are the
answers drawn for consistency.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import Unusable


@dataclass(frozen=True, slots=True)
class Price:
    """`[models.NAME.price]`."""

    currency: str
    prompt_million_tokens: float = 0.0
    answer_million_tokens: float = 0.0
    device_hour: float = 0.0

    def of(self, prompt_tokens: int, answer_tokens: int, seconds: float) -> float:
        tokens = prompt_tokens * self.prompt_million_tokens + answer_tokens * self.answer_million_tokens
        return round(tokens / 1e6 + seconds * self.device_hour / 3600, 9)


def read_price(table: Mapping[str, Any]) -> Price:
    try:
        price = Price(**table)
    except TypeError as error:
        raise Unusable(f"--price: {error}; give currency and prices as in [models.NAME.price]") from error
    for key in ("prompt_million_tokens", "answer_million_tokens", "device_hour"):
        value = getattr(price, key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise Unusable(f"--price: {key} is {value!r}, should be a number from 0 up")
    return price


def figures(rows: Sequence[Mapping[str, Any]], price: Price | None) -> dict[str, Any]:
    """A suite's totals; money is None without a price table."""
    seconds = math.fsum(row["seconds"] for row in rows)
    money = None if price is None else math.fsum(row["money"] for row in rows)
    return {
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "answer_tokens": sum(row["answer_tokens"] for row in rows),
        "device_seconds": round(seconds, 4),
        "money": None if money is None else round(money, 9),
        "money_per_1000_answers": None if money is None else round(money / len(rows) * 1000, 6),
        "currency": None if price is None else price.currency,
    }
