"""What cannot be used is refused in OpenAI's shape, and harms nobody else."""

import json
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from tests.services.gateway.conftest import HELLO, GatewayProcess, eventually

USER = b'{"role":"user","content":"hi"}'
MALFORMED = {
    "malformed JSON": (b'{"model":"plain","messages":[', "not usable JSON"),
    "an empty body": (b"", "not usable JSON"),
    "a list": (b"[]", "a list"),
    "a number": (b"3", "a number"),
    "no messages": (b'{"model":"plain"}', "`messages` is missing"),
    "messages of the wrong type": (b'{"model":"plain","messages":"hi"}', "`messages` is a text"),
    "empty messages": (b'{"model":"plain","messages":[]}', "`messages` is empty"),
    "a message that is no object": (b'{"model":"plain","messages":[1]}', "`messages[0]` is a number"),
    "a message without a role": (b'{"model":"plain","messages":[{"content":"x"}]}', "role"),
    "no model": (b'{"messages":[%b]}' % USER, "`model` is missing"),
    "a model of the wrong type": (b'{"model":3,"messages":[%b]}' % USER, "`model` is a number"),
    "stream of the wrong type": (b'{"model":"plain","messages":[%b],"stream":"yes"}' % USER, "`stream` is a text"),
    "metadata of the wrong type": (b'{"model":"plain","messages":[%b],"metadata":"x"}' % USER, "`metadata` is a text"),
    "a group of the wrong type": (b'{"model":"plain","messages":[%b],"metadata":{"group":1}}' % USER, "metadata.group"),
    "a long user": (b'{"model":"plain","messages":[%b],"user":"%b"}' % (USER, b"u" * 513), "at most 512"),
    "invalid UTF-8": (b'{"model":"plain","messages":[{"role":"user","content":"\xff"}]}', "UTF-8"),
    "a NUL byte": (b'{"model":"plain","messages":[{"role":"user","content":"\x00"}]}', "not usable JSON"),
    "an escaped NUL": (b'{"model":"plain","messages":[{"role":"user","content":"a\\u0000"}]}', "NUL"),
    "half a surrogate": (b'{"model":"plain","messages":[{"role":"user","content":"\\ud800"}]}', "not usable JSON"),
    "deep JSON": (b'{"model":"plain","messages":[%b],"x":%b%b}' % (USER, b"[" * 10_000, b"]" * 10_000), "nested"),
    "JSON just too deep": (b'{"model":"plain","messages":[%b],"x":%b%b}' % (USER, b"[" * 210, b"]" * 210), "nested"),
    "a huge integer": (b'{"model":"plain","messages":[%b],"seed":%b}' % (USER, b"9" * 5000), "not usable JSON"),
}


def post(gateway: GatewayProcess, content: bytes, **headers: str) -> httpx.Response:
    return gateway.client.post("/v1/chat/completions", content=content, headers=headers)


@pytest.mark.parametrize("what", MALFORMED)
def test_a_bad_body_is_400_with_the_reason(gateway: GatewayProcess, what: str) -> None:
    body, reason = MALFORMED[what]
    answer = post(gateway, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert reason in error["message"]
    assert answer.headers["x-ratchet-answer-id"]


def test_text_that_only_looks_like_nul_or_depth_is_answered(gateway: GatewayProcess) -> None:
    for text in ("the escape \\u0000 in prose", "[" * 5000, "emoji 😀 and \\ud83d"):
        answer = gateway.ask({**HELLO, "messages": [{"role": "user", "content": text}]})
        assert answer.status_code == 200, answer.text
        recorded = gateway.answer(answer.headers["x-ratchet-answer-id"])
        assert recorded.messages[0]["content"] == text


def test_an_unknown_model_is_404_and_names_the_known_ones(gateway: GatewayProcess) -> None:
    answer = gateway.ask({**HELLO, "model": "nope"})
    assert answer.status_code == 404
    assert "plain, support-triage" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback"])
def test_ten_megabytes_are_413(gateway: GatewayProcess, path: str) -> None:
    answer = gateway.client.post(path, content=b"x" * 10_000_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert gateway.ask().status_code == 200


def test_ten_megabytes_in_chunks_are_413(gateway: GatewayProcess) -> None:
    pieces = (b"x" * 65536 for _ in range(160))
    try:
        answer = gateway.client.post("/v1/chat/completions", content=pieces)
        assert answer.status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        pass  # refused while still sending, and the connection is closed: as good
    assert gateway.ask().status_code == 200


def test_other_methods_are_405(gateway: GatewayProcess) -> None:
    answer = gateway.client.get("/v1/chat/completions")
    assert answer.status_code == 405
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_path_is_404_in_openais_shape(gateway: GatewayProcess) -> None:
    answer = gateway.client.get("/v1/nope")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Not Found"


def test_a_body_that_never_ends_is_408(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert client.recv(65536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", b"GET / HT"])
def test_a_head_that_never_ends_is_hung_up_on(gateway: GatewayProcess, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(sent)
        began = time.monotonic()
        assert client.recv(65536) == b""
        assert time.monotonic() - began < 5


def test_a_head_of_a_megabyte_is_hung_up_on(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")

        def closed() -> bool:
            try:
                client.sendall(b"x-h: " + b"a" * 8000 + b"\r\n")
            except OSError:
                return True
            return False

        eventually(closed)
    assert gateway.ask().status_code == 200


def test_the_limits_are_for_one_request_not_for_a_kept_connection(gateway: GatewayProcess) -> None:
    body = json.dumps(HELLO).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-pad: %b\r\ncontent-length: %d\r\n\r\n"
    request = head % (b"p" * 30_000, len(body)) + body
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        for _ in range(5):
            client.sendall(request)
            got = b""
            while not got.endswith(b"}}"):
                got += client.recv(65536)
            assert got.startswith(b"HTTP/1.1 200")


def test_what_is_wrong_with_the_configuration_is_said_at_start(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway("", RATCHET_GATEWAY_SPOOL_MAX_BYTES="-1")
    with pytest.raises(AssertionError, match="RATCHET_GATEWAY_SPOOL_MAX_BYTES='-1'"):
        gateway.start()
