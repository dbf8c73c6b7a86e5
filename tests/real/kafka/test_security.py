"""A broker that asks for TLS and a password: who has them is served, who has not is told so."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.native.kafka import java, properties_of
from infra.native.probes import kafka_answers
from infra.native.server import NotHealthy
from shared.bus import Outgoing, open_bus
from shared.errors import Unavailable
from shared.processes import free_ports
from shared.topics import ANSWERS
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

PASSWORD = "of-the-test"
_SECURE = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_ratchet="{password}";
listener.name.secure.ssl.keystore.location={keystore}
listener.name.secure.ssl.keystore.password={password}
"""


@dataclass(frozen=True)
class SecureBroker:
    address: str
    authority: Path

    def url(self, password: str) -> str:
        return (
            f"kafka://ratchet:{password}@{self.address}?ssl_cafile={self.authority}"
            "&delivery_timeout_seconds=6&session_timeout_seconds=6"
        )


@pytest.fixture(scope="module")
def broker(servers: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """One of the module's own, with the Kafka that the stack has installed."""
    servers.need("kafka")
    folder = tmp_path_factory.mktemp("broker")
    plain, controller, secure = free_ports(3)
    properties = folder / "server.properties"
    settings = {"plain": plain, "controller": controller, "secure": secure}
    properties.write_text(
        properties_of("127.0.0.1", plain, controller, folder / "log")
        + _SECURE.format(**settings, password=PASSWORD, keystore=_keystore(folder))
    )
    form = [*java(servers.place, "-Xmx128m", "kafka.tools.StorageTool"), "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA"]
    subprocess.run([*form, "-c", properties], check=True, capture_output=True, timeout=120)
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*java(servers.place, "-Xms128m", "kafka.Kafka"), properties], stdout=log, stderr=log
        )
        try:
            until(lambda: process.poll() is not None or _answers(plain), 120)
            assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
            yield SecureBroker(f"127.0.0.1:{secure}", folder / "authority.pem")
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        kafka_answers(port)
    except NotHealthy:
        return False
    return True


def _keystore(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority."""
    store, tool = folder / "broker.p12", ["keytool", "-storepass", PASSWORD, "-alias", "broker"]
    made = ["-genkeypair", "-keyalg", "RSA", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    for words in ([*made, "-storetype", "PKCS12"], ["-exportcert", "-rfc", "-file", str(folder / "authority.pem")]):
        done = subprocess.run([*tool, "-keystore", str(store), *words], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stdout + done.stderr
    return store


def test_with_password_and_authority_everything_works(broker: SecureBroker) -> None:
    bus = open_bus(broker.url(PASSWORD))
    bus.ensure_topics()
    bus.publish([Outgoing(ANSWERS, "k", b"1")])
    assert [record.value for record in bus.history(ANSWERS)] == [b"1"]
    member = bus.consumer("g", [ANSWERS])
    read: list[bytes] = []
    until(lambda: bool(read.extend(record.value for record in member.poll(10, 1.0)) or read), 60)
    assert read == [b"1"]
    member.close()
    bus.close()


def test_a_wrong_password_is_told_and_not_shown(broker: SecureBroker, caplog: pytest.LogCaptureFixture) -> None:
    bus = open_bus(broker.url("not-" + PASSWORD))
    with pytest.raises(Unavailable) as told:
        bus.ensure_topics()
    bus.close()
    assert "refuses the password" in str(told.value)
    assert "Invalid username or password" in caplog.text
    assert PASSWORD not in caplog.text
    assert PASSWORD not in str(told.value)


def test_a_broker_signed_by_somebody_else_is_not_trusted(broker: SecureBroker) -> None:
    bus = open_bus(f"kafka://ratchet:{PASSWORD}@{broker.address}?delivery_timeout_seconds=6")
    with pytest.raises(Unavailable):
        bus.ensure_topics()
    bus.close()
