import os
import signal

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from infra.native import postgres
from infra.native.probes import http_json, redis_answers
from infra.native.processes import processes
from infra.native.state import Phase, is_alive, is_locked
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

FIVE = ("--only", "kafka,postgres,redis,prometheus,alertmanager")
MEMORY_MAX_MB = 3 * 1024


def test_five_servers_start_keep_their_data_and_start_again_soon(stack: RunningStack) -> None:
    first = stack.up(*FIVE)
    host = f"127.0.0.1:{stack.settings.kafka_port}"
    password = stack.place.credentials.redis_password
    _write_to_kafka(host)
    postgres.query(stack.place, "ratchet", "create table kept as select 42 as answer")
    redis_answers(stack.settings.redis_port, password, "SET", "kept", "42")
    assert http_json(stack.settings.prometheus_port, "/api/v1/query?query=up")["status"] == "success"

    assert "stopped after" in stack.command("down").stdout
    assert not is_locked(stack.place.layout)
    second = stack.up(*FIVE)

    print(f"\nfirst start {first:.1f} s, second start {second:.1f} s", flush=True)
    assert second < 60
    assert _read_from_kafka(host) == b"kept"
    assert postgres.query(stack.place, "ratchet", "select answer from kept") == "42"
    assert redis_answers(stack.settings.redis_port, password, "GET", "kept") == "42"
    assert sum(server["memory_mb"] for server in stack.servers().values()) < MEMORY_MAX_MB


def test_no_server_outlives_a_supervisor_that_was_killed(stack: RunningStack) -> None:
    stack.up(*FIVE)
    family = stack.family()
    assert len(family) > 5
    os.kill(stack.supervisor(), signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in family))
    until(lambda: not is_locked(stack.place.layout))
    stack.up("--only", "postgres")  # a cluster that was left in a hurry opens again


def test_the_supervisor_stops_all_when_its_warden_is_killed(stack: RunningStack) -> None:
    stack.up("--only", "postgres,redis")
    family = stack.family()
    os.kill(_parent(stack.supervisor()), signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in family))


def test_a_server_that_dies_is_started_again(stack: RunningStack) -> None:
    stack.up("--only", "redis")
    before = stack.server("redis").pid
    assert before
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.server("redis").pid not in (None, before))
    stack.up("--only", "redis")
    assert stack.server("redis").deaths == 1


def test_a_stalled_server_is_called_unhealthy_and_left_alone(stack: RunningStack) -> None:
    stack.up("--only", "redis")
    pid = stack.server("redis").pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stack.server("redis").phase is Phase.UNHEALTHY)
    os.kill(pid, signal.SIGCONT)
    until(lambda: stack.server("redis").phase is Phase.HEALTHY)
    assert stack.server("redis").pid == pid


def test_up_twice_is_harmless_and_adds_what_is_new(stack: RunningStack) -> None:
    stack.up("--only", "redis")
    before = stack.server("redis").pid
    stack.up("--only", "redis,alertmanager")
    servers = stack.servers()
    assert set(servers) == {"redis", "alertmanager"}
    assert servers["redis"]["pid"] == before


def test_up_says_which_server_failed_with_the_end_of_its_log(stack: RunningStack) -> None:
    stack.up("--only", "redis")
    stack.command("down")
    log = next((stack.place.layout.data("redis") / "appendonlydir").glob("*.incr.aof"))
    log.write_bytes(b"this is no append-only file\n")
    failed = stack.command("up", "--only", "redis")
    assert failed.returncode == 1
    assert "redis is pausing: ended with status 1" in failed.stderr
    assert "Bad file format reading the append only file" in failed.stderr


def _parent(pid: int) -> int:
    return next(process.parent for process in processes() if process.pid == pid)


def _write_to_kafka(host: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=host)
    admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=host, enable_idempotence=False, acks="all")
    producer.send("kept", b"kept").get(30)
    producer.close()


def _read_from_kafka(host: str) -> bytes:
    consumer = KafkaConsumer("kept", bootstrap_servers=host, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    try:
        return bytes(next(iter(consumer)).value)
    finally:
        consumer.close()
