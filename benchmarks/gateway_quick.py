"""CPU of the gateway per request, beside a FastAPI + httpx pass-through: `python -m benchmarks.gateway_quick`.

One constant model server (a raw uvloop protocol) and one load generator, each in a process of its own; CPU is user and
system time of the server's process and its children from /proc, so other work on the machine changes little. The
gateway records every answer durably and ships it to the embedded bus; the pass-through only passes. Linux only.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvloop

from shared.processes import free_ports

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
CLIENTS = 16
EVENTS = 64
TEXT = "The router in building 7 is down since this morning. " * 6
REQUEST = json.dumps(
    {
        "model": "plain",
        "messages": [{"role": "system", "content": "You sort tickets."}, {"role": "user", "content": TEXT}],
        "temperature": 0,
        "max_tokens": 200,
    }
).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "total_tokens": 180, "completion_tokens": 90},
    }
).encode()
TOML = '[models.tiny]\npath = "builtin:tiny"\n[workloads.plain]\nbase = "tiny"\n'


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunks() -> list[bytes]:
    """64 token events as vLLM frames them, then the end."""
    chunks = []
    for number in range(EVENTS):
        reason = "stop" if number == EVENTS - 1 else None
        choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": reason}
        value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice]}
        data = b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
        chunks.append(b"%x\r\n%b\r\n" % (len(data), data))
    return [*chunks, b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"]


class ConstantModel(asyncio.Protocol):
    """Answers every request with the same bytes; streams when the request says so, an event a write."""

    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    chunks = _chunks()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            start = head.find(b"content-length:")
            size = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self.waiting) < end + 4 + size:
                return
            body, self.waiting = self.waiting[end + 4 : end + 4 + size], self.waiting[end + 4 + size :]
            if b'"stream":true' in body or b'"stream": true' in body:
                asyncio.get_running_loop().create_task(self._stream())
            else:
                self.transport.write(self.whole)  # type: ignore[attr-defined]

    async def _stream(self) -> None:
        self.transport.write(STREAM_HEAD)  # type: ignore[attr-defined]
        for chunk in self.chunks:
            self.transport.write(chunk)  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)  # so that each event is a packet and a wake-up of its own


class Client(asyncio.Protocol):
    """Asks again as soon as it has its answer, until `left` is used up. Counts what was not 200."""

    def __init__(self, request: bytes, end: bytes, run: "Run") -> None:
        self.request, self.end, self.run = request, end, run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.got += data
        if self.got.endswith(self.end):
            self.run.failed += not self.got.startswith(b"HTTP/1.1 200")
            self._ask()

    def connection_lost(self, _error: Exception | None) -> None:
        self.run.finish_one()

    def _ask(self) -> None:
        self.got = b""
        if self.run.left <= 0:
            self.transport.close()
            return
        self.run.left -= 1
        self.transport.write(self.request)  # type: ignore[attr-defined]


class Run:
    def __init__(self, requests: int) -> None:
        self.left, self.failed, self.open = requests, 0, CLIENTS
        self.over = asyncio.Event()

    def finish_one(self) -> None:
        self.open -= 1
        if not self.open:
            self.over.set()


async def _load(port: int, requests: int, stream: bool) -> int:
    body = REQUEST.replace(b'"max_tokens"', b'"stream": true, "max_tokens"') if stream else REQUEST
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    end = b"0\r\n\r\n" if stream else b"}}"
    run = Run(requests)
    loop = asyncio.get_running_loop()
    for _ in range(CLIENTS):
        await loop.create_connection(lambda: Client(request % len(body) + body, end, run), "127.0.0.1", port)
    await run.over.wait()
    return run.failed


def _ask_many(port: int, requests: int, stream: bool, failed: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    failed.value = uvloop.run(_load(port, requests, stream))


async def _serve_model(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(ConstantModel, "127.0.0.1", port)
    await server.serve_forever()


def _model(port: int) -> None:
    uvloop.run(_serve_model(port))


def _passthrough(port: int, upstream: str) -> None:
    """The pass-through most people write first: FastAPI and one shared httpx client."""
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse

    app, client = (
        FastAPI(),
        httpx.AsyncClient(base_url=upstream, limits=httpx.Limits(max_keepalive_connections=CLIENTS)),
    )

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        asked = client.build_request("POST", "/v1/chat/completions", json=body)
        answer = await client.send(asked, stream=bool(body.get("stream")))
        if body.get("stream"):
            return StreamingResponse(answer.aiter_raw(), headers={"content-type": "text/event-stream"})
        return Response(answer.content, answer.status_code, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) * TICK_SECONDS + sum(cpu_seconds(int(c)) for c in children)


def measure(port: int, pid: int, requests: int, *, stream: bool) -> float:
    """CPU microseconds a request of the process that answers on `port`."""
    failed = multiprocessing.Value("i", 0)
    before = cpu_seconds(pid)
    load = multiprocessing.Process(target=_ask_many, args=(port, requests, stream, failed))
    load.start()
    load.join()
    spent = cpu_seconds(pid) - before
    if load.exitcode or failed.value:
        raise SystemExit(f"{failed.value} of {requests} requests failed")
    return spent / requests * 1e6


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[multiprocessing.Process]:
    started = multiprocessing.Process(target=target, args=arguments, daemon=True)
    started.start()
    yield started
    started.kill()
    started.join()


@contextmanager
def gateway(port: int, upstream: str, folder: Path) -> Iterator[int]:
    (folder / "ratchet.toml").write_text(TOML)
    environment = {
        **os.environ,
        "RATCHET_CONFIG": str(folder / "ratchet.toml"),
        "RATCHET_DATA_DIR": str(folder / "data"),
        "RATCHET_GATEWAY_PORT": str(port),
        "RATCHET_UPSTREAM_URLS": upstream,
        "RATCHET_LOG_LEVEL": "ERROR",
    }
    started = subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment)
    yield started.pid
    started.terminate()
    started.wait(20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", content=REQUEST).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000, help="requests a round to the gateway")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ours, peers, streams = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        model_port, gateway_port, peer_port = free_ports(3)
        upstream = f"http://127.0.0.1:{model_port}"
        with (
            process(_model, model_port),
            process(_passthrough, peer_port, upstream) as peer,
            gateway(gateway_port, upstream, Path(folder)) as gateway_pid,
        ):
            _wait_for(gateway_port)
            _wait_for(peer_port)
            assert peer.pid is not None
            for _ in range(options.rounds):
                ours.append(measure(gateway_port, gateway_pid, options.requests, stream=False))
                peers.append(measure(peer_port, peer.pid, options.requests // 10, stream=False))
                streams.append(measure(gateway_port, gateway_pid, options.requests // 20, stream=True) / EVENTS)
    mine, theirs, event = map(statistics.median, (ours, peers, streams))
    print(f"gateway, durable and shipped   {mine:8.1f} us a request   rounds {[round(x, 1) for x in ours]}")
    print(f"FastAPI + httpx, passing only  {theirs:8.1f} us a request   rounds {[round(x, 1) for x in peers]}")
    print(f"ratio                          {theirs / mine:8.1f}")
    print(f"gateway, per event of a stream {event:8.1f} us   rounds {[round(x, 1) for x in streams]}")


if __name__ == "__main__":
    main()
