"""The same kills on Kafka and PostgreSQL."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from tests.loop.deployment import Deployment, deployment
from tests.loop.kills import LEASES, SMALLER, survives_kill_9_of_every_part
from tests.real.kafka.broker import Broker
from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1300)]


@pytest.fixture
def database(servers: RunningStack) -> Iterator[str]:
    """One of the test's own, without any table: `ratchet up` makes them."""
    servers.need("postgres")
    server = make_url(servers.addresses()["RATCHET_DATABASE_URL"])
    name = f"kills_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture
def loop(broker: Broker, database: str, tmp_path: Path) -> Iterator[Deployment]:
    servers = {"RATCHET_BUS_URL": broker.url, "RATCHET_DATABASE_URL": database}
    with deployment(tmp_path / "data", SMALLER, **LEASES, **servers) as running:
        yield running


def test_the_loop_survives_kill_9_of_every_part(loop: Deployment) -> None:
    survives_kill_9_of_every_part(loop)
