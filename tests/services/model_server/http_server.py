"""The model server behind a real port, in a thread of the test's process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from services.model_server.app import build, http
from services.model_server.serving import Serving
from services.model_server.settings import ModelServerSettings


@contextmanager
def serving_http(name: str, base: Path, **settings: Any) -> Iterator[tuple[str, Serving]]:
    """(its URL, what it serves)."""
    serving = build(name, str(base), ModelServerSettings(threads=1, device="cpu", **settings))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(http(serving), log_config=None, timeout_graceful_shutdown=10)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", serving
        finally:
            server.should_exit = True
            thread.join()
