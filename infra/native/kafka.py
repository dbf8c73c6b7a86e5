"""Kafka, one node that is broker and controller (KRaft).

Promise: acknowledged records survive kill -9 of the broker, not a loss of power (one replica, in the page cache).
"""

from pathlib import Path

from infra.native.install import folder_of
from infra.native.probes import kafka_answers
from infra.native.server import Installs, Place, Runs, Server, owned_folder
from infra.native.settings import HOST
from infra.native.versions import versions

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


def kafka(place: Place) -> Server:
    settings, folder = place.settings, place.layout.data("kafka")
    properties = folder / "server.properties"

    def prepare(run: Runs) -> None:
        owned_folder(folder, None)
        (folder / "log").mkdir(exist_ok=True)
        properties.write_text(
            properties_of(HOST, settings.kafka_port, settings.kafka_controller_port, folder / "log"),
            "utf-8",
        )
        if not (folder / "log" / "meta.properties").exists():
            cluster = place.credentials.kafka_cluster_id
            tool = java(place, "-Xmx128m", "kafka.tools.StorageTool")
            run([*tool, "format", "--ignore-formatted", "-t", cluster, "-c", properties])

    return Server(
        name="kafka",
        port=settings.kafka_port,
        other_ports=(settings.kafka_controller_port,),
        install=_install,
        prepare=prepare,
        command=[*java(place, f"-Xms{settings.kafka_heap_mb}m", "kafka.Kafka"), properties],
        health=lambda: kafka_answers(settings.kafka_port),
        start_seconds=180,  # after kill -9 it checks its log, 16-19 s on two idle cores
        memory_mb=settings.kafka_heap_mb + 150,
    )


def properties_of(host: str, port: int, controller_port: int, log_dir: Path) -> str:
    """The broker's settings, here and in docker-compose.yml."""
    return _PROPERTIES.format(host=host, port=port, controller_port=controller_port, log_dir=log_dir)


def java(place: Place, smallest: str, main: str) -> list[str | Path]:
    """A Java command with Kafka's jars; also for its command-line tools."""
    libs = folder_of(place.layout.servers, "kafka", versions().maven["kafka"]) / "libs"
    heap = [smallest, f"-Xmx{place.settings.kafka_heap_mb}m"] if smallest.startswith("-Xms") else [smallest]
    return [
        "java",
        *heap,
        "-XX:+ExitOnOutOfMemoryError",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        f"{libs}/*",
        main,
    ]


def _install(installs: Installs) -> None:
    installs.apt("java")
    installs.apt("maven")
    installs.maven("kafka")
