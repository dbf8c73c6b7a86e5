import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from services.model_server.adapters import Adapter
from services.model_server.app import build
from services.model_server.engine import News
from services.model_server.sequence import Failed, Sampling, Sequence, Step
from services.model_server.serving import Serving
from services.model_server.settings import ModelServerSettings
from services.model_server.text import GrowingText
from tests.services.model_server.bases import write_adapter, write_base

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("bases") / "small")


@pytest.fixture(scope="session")
def adapter_folders(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(root / name, base_folder, seed=n, rank=4 * n) for n, name in enumerate("abc", start=1)}


@dataclass
class Running:
    """A started engine without HTTP in front."""

    serving: Serving
    news: "queue.Queue[tuple[Sequence, Step | Failed]]" = field(default_factory=queue.Queue)
    died: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.serving.engine.start(self._announce, lambda _error: self.died.set())

    def sequence(self, text: str | list[int], adapter: str | Adapter | None = None, **how: Any) -> Sequence:
        prompt = self.serving.base.encode(text, special=False) if isinstance(text, str) else text
        stops, streaming = how.pop("stops", ()), how.pop("streaming", False)
        sampling = Sampling(**{"max_tokens": 20, "temperature": 0.0, "ignore_eos": True} | how)
        held = self.serving.adapters.get(adapter) if isinstance(adapter, str) else adapter
        growing = GrowingText(self.serving.base.decode, prompt, stops)
        return Sequence(prompt, sampling, held, growing, lambda s, w: self.news.put((s, w)), streaming=streaming)

    def ask(self, *sequences: Sequence) -> list[Sequence]:
        """Submits and waits until each has ended."""
        self.serving.engine.submit(list(sequences))
        self.wait(*sequences)
        return list(sequences)

    def wait(self, *sequences: Sequence) -> None:
        open_ones = set(sequences)
        while open_ones:
            sequence, what = self.news.get(timeout=60)
            if isinstance(what, Failed) or what.finish:
                open_ones.discard(sequence)

    def until(self, sequence: Sequence, tokens: int) -> None:
        """Waits until a streaming sequence has come so far."""
        while len(sequence.tokens) < tokens:
            self.news.get(timeout=60)

    def load(self, folders: dict[str, Path], *, in_place: bool = False) -> None:
        for name, folder in folders.items():
            self.serving.adapters.load(name, str(folder), in_place=in_place)

    def _announce(self, news: News) -> None:
        for sequence, what in news:
            sequence.announce(sequence, what)


Start = Callable[..., Running]


@pytest.fixture
def start(base_folder: Path) -> Iterator[Start]:
    """A running engine with the settings given; closed at the end."""
    started: list[Running] = []

    def begin(base: Path = base_folder, **settings: Any) -> Running:
        running = Running(build("small", str(base), ModelServerSettings(threads=1, device="cpu", **settings)))
        running.start()
        started.append(running)
        return running

    yield begin
    for running in started:
        running.serving.engine.close()
