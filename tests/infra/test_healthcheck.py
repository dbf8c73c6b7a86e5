import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.healthcheck import objection_of


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False), (404, False)])
def test_only_200_is_healthy(status: int, is_healthy: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"the consumer does not run")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    said = objection_of(f"http://127.0.0.1:{server.server_port}/readyz")
    server.server_close()
    assert (said == "") is is_healthy
    if not is_healthy:
        assert "the consumer does not run" in said


def test_nobody_there_is_not_healthy_and_neither_is_nonsense() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in objection_of(f"http://127.0.0.1:{port}/readyz")
    assert objection_of("nonsense")
