"""What shared.bus promises, on the real broker: the suite of tests/contracts, each test with topics of its own."""

from collections.abc import Iterator

import pytest

from tests.contracts.test_bus import *  # noqa: F403
from tests.real.kafka.broker import Broker
from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def log(servers: RunningStack) -> Iterator[Broker]:
    broker = Broker(servers, delivery_timeout_seconds=3)
    yield broker
    broker.close()
