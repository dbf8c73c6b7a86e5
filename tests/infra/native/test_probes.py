import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from infra.native.probes import http_answers, kafka_answers, redis_answers
from infra.native.server import NotHealthy

Says = Callable[[bytes], int]


@pytest.fixture
def server() -> Iterator[Says]:
    """Listens, and gives each connection the same bytes whatever it asks; returns the port."""
    listeners: list[socket.socket] = []

    def start(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def _serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(answer)


def framed(body: bytes) -> bytes:
    return struct.pack(">ii", len(body) + 4, 1) + body


def test_a_broker_that_knows_itself_is_healthy(server: Says) -> None:
    kafka_answers(server(framed(struct.pack(">hi", 0, 0)) + framed(struct.pack(">i", 1))))


def test_a_broker_without_members_is_not(server: Says) -> None:
    with pytest.raises(NotHealthy, match="lists 0 brokers"):
        kafka_answers(server(framed(struct.pack(">hi", 0, 0)) + framed(struct.pack(">i", 0))))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x10half"])
def test_another_program_on_kafkas_port_is_not_a_broker(server: Says, answer: bytes) -> None:
    with pytest.raises(NotHealthy, match="Kafka on port"):
        kafka_answers(server(answer))


def test_redis_answer_is_what_comes_after_the_password(server: Says) -> None:
    assert redis_answers(server(b"+OK\r\n+PONG\r\n"), "secret") == "PONG"
    assert redis_answers(server(b"+OK\r\n*2\r\n$1\r\na\r\n$-1\r\n"), "secret", "SMEMBERS", "x") == ["a", None]


@pytest.mark.parametrize("answer", [b"", b"-WRONGPASS no\r\n", b"+OK\r\n-LOADING Redis is loading\r\n"])
def test_a_redis_that_refuses_is_not_healthy(server: Says, answer: bytes) -> None:
    with pytest.raises(NotHealthy, match="PING on port"):
        redis_answers(server(answer), "secret")


def test_nobody_on_the_port_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotHealthy, match=f"port {port}"):
        http_answers(port, "/-/ready")


def test_an_error_page_is_not_healthy(server: Says) -> None:
    with pytest.raises(NotHealthy, match="answered 503"):
        http_answers(server(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"), "/-/ready")
