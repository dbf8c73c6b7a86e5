"""Calls between services: what can be tried again is Unavailable, what cannot is Unusable with the other's sentence."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.calls import Caller
from shared.errors import Unavailable, Unusable
from shared.processes import free_ports


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, kind, body = ANSWERS[self.path.split("?")[0]]
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        ANSWERS["/echo"] = (200, "application/json", body)
        self.path = "/echo"
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


JSON = "application/json"
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "/ok": (200, JSON, b'{"a": 1}'),
    "/text": (200, "text/plain", b"Success: loaded"),
    "/broken": (200, JSON, b'{"a": '),
    "/wrong": (422, JSON, b'{"detail": "give a workload"}'),
    "/openai": (404, JSON, b'{"error": {"message": "no such model"}}'),
    "/plain-error": (400, JSON, b'{"error": "just text"}'),
    "/html": (404, "text/html", b"<h1>not here</h1>"),
    "/list": (400, JSON, b'["odd"]'),
    "/moved": (301, "text/plain", b"elsewhere"),
    "/down": (503, JSON, b'{"detail": "no disk"}'),
    "/busy": (429, JSON, b"{}"),
}


@pytest.fixture
def caller() -> Iterator[Caller]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    caller = Caller(f"http://127.0.0.1:{server.server_address[1]}", timeout_seconds=5)
    yield caller
    caller.close()
    server.shutdown()
    server.server_close()


def test_json_and_text_come_back_as_they_are(caller: Caller) -> None:
    assert caller.get("/ok", nothing=None, some=1) == {"a": 1}
    assert caller.get("/text") == "Success: loaded"
    assert caller.post("/anything", {"b": [1, "ü"]}) == json.loads('{"b": [1, "ü"]}')


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/wrong", "answered 422: give a workload"),
        ("/openai", "answered 404: no such model"),
        ("/plain-error", "answered 400: just text"),
        ("/html", "answered 404: <h1>not here</h1>"),
        ("/list", "answered 400: .'odd'."),
        ("/moved", "answered 301: elsewhere"),
    ],
)
def test_a_refusal_is_unusable_with_the_other_side_s_sentence(caller: Caller, path: str, said: str) -> None:
    with pytest.raises(Unusable, match=said):
        caller.get(path)


@pytest.mark.parametrize(("path", "said"), [("/down", "503: no disk"), ("/busy", "429"), ("/broken", "not JSON")])
def test_what_may_work_later_is_unavailable(caller: Caller, path: str, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        caller.get(path)


def test_nobody_listening_is_unavailable_and_says_where() -> None:
    (port,) = free_ports(1)
    caller = Caller(f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match=f"GET http://127.0.0.1:{port}/v1/plan: ConnectError"):
        caller.get("/v1/plan")
    caller.close()
