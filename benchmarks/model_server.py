"""The model server's engine against `model.generate` on the tiny base: `python -m benchmarks.model_server`.

Each way in turn, several rounds, in one process on one thread. Tokens per second of the process's CPU time, best round
of each: on a quiet core that is the speed one sees, and a busy machine disturbs it less. The ratios are what counts.

"alone": one `generate` after the other. "batched": one `generate` over all, padded, which nobody can join. The engine
has the same prompts as requests of their own: on the bare base, on one adapter, on the base and three adapters mixed.
"http" asks a server over a socket, streaming; its clients' CPU time counts too. Adapters are random. The last line is
JSON.
"""

import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn

from services.model_server.adapters import Adapter
from services.model_server.app import build, http
from services.model_server.sequence import Failed, Sampling, Sequence, Step
from services.model_server.serving import Serving
from services.model_server.settings import ModelServerSettings
from services.model_server.text import GrowingText
from training.model import resolve_base

ASK = "json customer, asset: Ticket {n}. My name is Anna Berg. It is about M-{m}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    serving = build("tiny", resolve_base("builtin:tiny"), ModelServerSettings(threads=1, device="cpu"))
    adapters = [_random_adapter(serving, n) for n in range(3)]
    race = _Race(serving, options.rows, options.tokens)
    ways: dict[str, Callable[[], None]] = {
        "generate, alone": race.generate_alone,
        "generate, batched": race.generate_batched,
        "engine, base": lambda: race.engine([None]),
        "engine, one adapter": lambda: race.engine(adapters[:1]),
        "engine, base and 3 adapters": lambda: race.engine([None, *adapters]),
        "http, base, streaming": race.http,
    }
    with race:
        rounds = [{name: _cpu_seconds(run) for name, run in ways.items()} for _ in range(options.rounds)]
    best = {name: min(times[name] for times in rounds) for name in ways}
    speed = {name: round(options.rows * options.tokens / seconds) for name, seconds in best.items()}
    for name, tokens_per_second in speed.items():
        ratio = tokens_per_second / speed["generate, alone"]
        print(f"{name:30} {tokens_per_second:7,} tokens/CPU-s  {ratio:5.1f} x alone")
    print(json.dumps({"rows": options.rows, "tokens": options.tokens, "threads": 1, "tokens_per_cpu_second": speed}))


class _Race:
    """The same prompts each way. A context manager around the server."""

    def __init__(self, serving: Serving, rows: int, tokens: int) -> None:
        self._serving = serving
        self._tokens = tokens
        self._texts = [ASK.format(n=n, m=n * 37) for n in range(rows)]
        template = serving.base.tokenizer.apply_chat_template
        self._prompts = [
            serving.base.encode(
                template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True), special=False
            )
            for text in self._texts
        ]
        self._ended = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(uvicorn.Config(http(serving), log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> None:
        self._thread.start()
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=20)).get("/readyz").raise_for_status()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def generate_alone(self) -> None:
        for prompt in self._prompts:
            self._generate([prompt])

    def generate_batched(self) -> None:
        self._generate(self._prompts)

    def engine(self, adapters: Iterable[Adapter | None]) -> None:
        of_row = cycle(adapters)
        how = Sampling(max_tokens=self._tokens, temperature=0.0, ignore_eos=True)
        decode = self._serving.base.decode
        self._serving.engine.submit(
            [Sequence(prompt, how, next(of_row), GrowingText(decode, prompt), self._heard) for prompt in self._prompts]
        )
        for _ in self._prompts:
            self._ended.acquire()

    def http(self) -> None:
        asyncio.run(self._ask_all())

    def _heard(self, _sequence: Sequence, what: Step | Failed) -> None:
        assert isinstance(what, Step), what
        self._ended.release()

    def _generate(self, prompts: list[list[int]]) -> None:
        longest = max(map(len, prompts))
        tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])  # (rows, seq)
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            self._serving.base.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                do_sample=False,
                min_new_tokens=self._tokens,
                max_new_tokens=self._tokens,
            )

    async def _ask_all(self) -> None:
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            await asyncio.gather(*(self._ask(client, text) for text in self._texts))

    async def _ask(self, client: httpx.AsyncClient, text: str) -> None:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "temperature": 0, "stream": True}
        body |= {"max_tokens": self._tokens, "ignore_eos": True}
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            async for _ in answer.aiter_raw():
                pass


def _random_adapter(serving: Serving, seed: int) -> Adapter:
    torch.manual_seed(seed)
    layers = serving.adapters.layers
    weights = {
        name: (torch.randn(16, layer.in_features) * 0.02, torch.randn(16, layer.out_features) * 0.02)
        for name, layer in layers.items()
    }
    return Adapter(f"random-{seed}", str(Path("nowhere")), 16, weights)


def _cpu_seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    main()
