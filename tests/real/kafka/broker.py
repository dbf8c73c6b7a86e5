"""The real broker in the hands of a test: topics of its own, stalled, killed, and asked by Kafka's own tools."""

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient

from infra.native.kafka import java
from infra.native.state import Phase
from tests.real.stack import RunningStack, until


class Broker:
    """The shared broker; `url` names topics and groups that no other test has."""

    def __init__(self, servers: RunningStack, delivery_timeout_seconds: float = 30) -> None:
        servers.need("kafka")
        self._servers = servers
        self.address = f"127.0.0.1:{servers.settings.kafka_port}"
        self.prefix = f"test-{uuid.uuid4().hex[:12]}."
        self.url = (
            f"kafka://{self.address}?prefix={self.prefix}&delivery_timeout_seconds={delivery_timeout_seconds}"
            "&session_timeout_seconds=6"
        )

    def down(self) -> None:
        """It accepts connections and answers nothing, as in a long pause of its machine."""
        os.kill(self._pid(), signal.SIGSTOP)

    def up(self) -> None:
        os.kill(self._pid(), signal.SIGCONT)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self.down()
        try:
            yield
        finally:
            self.up()

    def kill(self) -> None:
        """kill -9; its supervisor starts it again."""
        before = self._pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: self._servers.server("kafka").pid != before)

    def until_healthy(self) -> None:
        until(lambda: self._servers.server("kafka").phase is Phase.HEALTHY, 120)

    def tool(self, program: str, *words: str) -> str:
        """What one of Kafka's command-line programs prints."""
        line = [*java(self._servers.place, "-Xmx128m", f"org.apache.kafka.tools.{program}"), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.address)

    def close(self) -> None:
        """Leaves the broker healthy and without this test's topics."""
        self.up()
        self.until_healthy()
        admin = self.admin()
        mine = [name for name in admin.list_topics() if re.match(re.escape(self.prefix), name)]
        if mine:
            admin.delete_topics(mine)
        admin.close()

    def _pid(self) -> int:
        until(lambda: self._servers.server("kafka").pid is not None)
        pid = self._servers.server("kafka").pid
        assert pid is not None
        return pid
