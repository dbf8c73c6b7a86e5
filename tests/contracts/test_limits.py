"""What the scheduler lets through, training takes."""

import pytest

from services.scheduler import requests
from shared.errors import Unusable
from shared.limits import LEAST_EXAMPLES
from training import examples


def test_the_scheduler_orders_no_training_that_training_would_refuse() -> None:
    """The scheduler's own line is tried in tests/services/scheduler/test_requests.py."""
    assert requests.LEAST_EXAMPLES == LEAST_EXAMPLES  # type: ignore[attr-defined]
    examples.advice(LEAST_EXAMPLES)
    with pytest.raises(Unusable, match=f"at least {LEAST_EXAMPLES} are needed"):
        examples.advice(LEAST_EXAMPLES - 1)
