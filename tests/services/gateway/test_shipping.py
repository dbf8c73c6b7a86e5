"""With Kafka the spool is shipped by a process of its own, which may die at any time."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import Unavailable
from shared.events import decode
from shared.kafka_bus import KafkaBus
from shared.sqlite_log import SpoolDrain
from tests.contracts.mock_broker import MockBroker
from tests.services.gateway.conftest import GatewayProcess, eventually
from tests.services.gateway.scripted import ScriptedServer


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    made = MockBroker()
    yield made
    made.close()


def shipper_of(gateway: GatewayProcess) -> int | None:
    """The pid of the gateway's one child."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return int(children[0]) if children else None


def waiting_in_spool(gateway: GatewayProcess) -> int:
    found: int = gateway.client.get("/v1/status").json()["spool_records"]
    return found


@pytest.mark.slow
def test_kafka_away_and_a_dead_shipper_keep_no_client_waiting_and_lose_nothing(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer, broker: MockBroker
) -> None:
    url = f"kafka://{broker.address}?api_version=2.1&delivery_timeout_seconds=1.5"
    broker.down()
    gateway = own_gateway(upstream.url, RATCHET_BUS_URL=url).start()
    asked = [gateway.ask().headers["x-ratchet-answer-id"] for _ in range(20)]
    assert waiting_in_spool(gateway) == 20
    first = eventually(lambda: shipper_of(gateway))
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: shipper_of(gateway) not in (None, first) and shipper_of(gateway))
    assert second != first
    broker.up()
    eventually(lambda: waiting_in_spool(gateway) == 0)
    assert "ratchet_gateway_shipped_total 20.0" in gateway.client.get("/metrics").text
    bus = KafkaBus.open(url)
    shipped = {decode(record.value)[0].id for record in bus.history("ratchet.answers")}
    bus.close()
    assert shipped == set(asked)


def test_the_shipper_ends_with_its_gateway(
    own_gateway: Callable[..., GatewayProcess], upstream: ScriptedServer, broker: MockBroker
) -> None:
    gateway = own_gateway(upstream.url, RATCHET_BUS_URL=f"kafka://{broker.address}?api_version=2.1").start()
    assert eventually(lambda: shipper_of(gateway))
    gateway.kill()
    spool = gateway.folder / "data" / "gateway" / "spool.db"
    assert eventually(lambda: _drain_is_free(spool))


def _drain_is_free(spool: Path) -> bool:
    try:
        SpoolDrain.open(spool).close()
    except Unavailable:
        return False
    return True
