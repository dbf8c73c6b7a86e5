"""Where Argilla's worker sends its webhooks in a test: what came, byte for byte."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from services.annotation.argilla_desk import ArgillaDesk
from services.annotation.webhooks import Hook


class Listener:
    def __init__(self) -> None:
        self.deaf = False  # answers 503 and forgets
        self._events: list[tuple[bytes, dict[str, str]]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not listener.deaf:
                    listener._events.append((body, {k.lower(): v for k, v in self.headers.items()}))
                self.send_response(503 if listener.deaf else 202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/webhooks/argilla"

    def events(self) -> list[tuple[bytes, dict[str, str]]]:
        return list(self._events)

    def hook_of(self, desk: ArgillaDesk) -> Hook:
        return Hook(desk, self.url)


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()
    thread = threading.Thread(target=listener.server.serve_forever)
    thread.start()
    try:
        yield listener
    finally:
        listener.server.shutdown()
        listener.server.server_close()
        thread.join()
