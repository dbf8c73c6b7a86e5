"""A Kafka of the benchmark's own, by the native stack, and the ids that have arrived in it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from infra.native.settings import StackSettings
from shared.processes import free_ports
from shared.topics import ANSWERS, TOPICS

ARRIVAL_SECONDS = 60.0
_POLL_RECORDS = 1000


class NotArrived(Exception):
    """An answer that a client got whole is not in Kafka."""


@contextmanager
def broker(folder: Path, servers: Path) -> Iterator[str]:
    """Yields host:port. servers: where the native stack has installed, or installs, Kafka."""
    names = [name for name in StackSettings.model_fields if name.endswith("_port")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    settings = {f"RATCHET_STACK_{name.upper()}": str(port) for name, port in ports.items()}
    where = {"RATCHET_STACK_DIR": str(folder), "RATCHET_STACK_SERVERS_DIR": str(servers)}
    stack, environment = [sys.executable, "-m", "services.cli", "stack"], {**os.environ, **settings, **where}
    try:
        subprocess.run([*stack, "up", "--only", "kafka"], env=environment, check=True, stdout=sys.stderr)
        yield f"127.0.0.1:{ports['kafka_port']}"
    finally:
        subprocess.run([*stack, "down"], env=environment, check=True, stdout=sys.stderr)


class Arrivals:
    """Every record of the answers' topic, by the id of its answer."""

    def __init__(self, server: str) -> None:
        own_group = {"group.id": "benchmark", "enable.auto.commit": False}
        self._consumer = Consumer({"bootstrap.servers": server, **own_group})
        self.records = 0
        self.ids: set[bytes] = set()
        self.asked_for = 0

    def begin(self) -> None:
        """The gateway makes the topic, so this comes after its first answer."""
        (partitions,) = (topic.partitions for topic in TOPICS if topic.name == ANSWERS)
        self._consumer.assign([TopicPartition(ANSWERS, number, OFFSET_BEGINNING) for number in range(partitions)])

    def wait_for(self, ids: Iterable[bytes]) -> int:
        """Returns how many there are, once all of them are in Kafka. NotArrived when one does not come in time."""
        wanted = list(ids)
        if len(set(wanted)) != len(wanted):
            raise NotArrived("two answers have the same id")
        missing, deadline = set(wanted) - self.ids, time.monotonic() + ARRIVAL_SECONDS
        while missing:
            if time.monotonic() > deadline:
                raise NotArrived(f"{len(missing)} of {len(wanted)} answers never came to Kafka, as {missing.pop()!r}")
            self._read()
            missing -= self.ids
        self.asked_for += len(wanted)
        return len(wanted)

    @property
    def duplicates(self) -> int:
        return self.records - len(self.ids)

    def close(self) -> None:
        self._consumer.close()

    def _read(self) -> None:
        for message in self._consumer.consume(_POLL_RECORDS, timeout=0.1):
            if message.error():
                raise NotArrived(f"the topic cannot be read: {message.error()}")
            self.records += 1
            self.ids.add(message.key())
