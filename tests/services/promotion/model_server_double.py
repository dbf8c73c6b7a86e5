"""A model server that speaks the adapter dialect over real HTTP and holds no model."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class ModelServerDouble:
    """Answers with vLLM's statuses and words. `broken` maps a call's path to the status it fails with."""

    def __init__(self, base: str = "tiny") -> None:
        self.base = base
        self.adapters: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []  # call, adapter name
        self.broken: dict[str, int] = {}
        self.says = "broken"  # the message of what is broken
        self.before_load = threading.Event()  # cleared by a test that wants loads to wait
        self.before_load.set()
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*double.get(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*double.post(self.path, body))

            def _answer(self, status: int, body: Any) -> None:
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def restart(self) -> None:
        """What a real one holds after a restart: nothing."""
        self.adapters.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, path: str) -> tuple[int, Any]:
        if status := self.broken.get(path):
            return status, _error(self.says, "InternalServerError", status)
        cards = [{"id": self.base, "root": self.base, "parent": None}]
        cards += [{"id": n, "root": p, "parent": self.base} for n, p in list(self.adapters.items())]
        return 200, {"object": "list", "data": cards}

    def post(self, path: str, body: dict[str, str]) -> tuple[int, Any]:
        name = body["lora_name"]
        self.calls.append((path.rpartition("/")[2], name))
        if status := self.broken.get(path):
            return status, _error(self.says, "BadRequestError", status)
        if path == "/v1/load_lora_adapter":
            return self._load(name, body["lora_path"])
        if self.adapters.pop(name, None) is None:
            return 404, _error(f"The lora adapter '{name}' cannot be found.", "NotFoundError", 404)
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def _load(self, name: str, path: str) -> tuple[int, Any]:
        self.before_load.wait(10)
        if name in self.adapters:
            return 400, _error(f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput", 400)
        if not (Path(path) / "adapter_model.safetensors").is_file():
            return 404, _error(f"Loading lora {name} failed: No adapter found for {path}", "NotFoundError", 404)
        self.adapters[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully."


def _error(message: str, kind: str, code: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
