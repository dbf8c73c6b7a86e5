from collections.abc import Iterator

import pytest

from tests.loop.deployment import Deployment, deployment
from tests.loop.kills import LEASES, SMALLER, survives_kill_9_of_every_part

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1300)]


@pytest.fixture
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("kills") / "data", SMALLER, **LEASES) as running:
        yield running


def test_the_loop_survives_kill_9_of_every_part(loop: Deployment) -> None:
    survives_kill_9_of_every_part(loop)
