import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared import installed
from shared.errors import Unavailable, Unusable
from shared.processes import free_ports
from training.model import BUILTIN, load_tokenizer, positions_of, resolve_base, resolve_file
from training.preset import FOLDER


def test_a_file_of_a_builtin_base_is_found_by_the_bases_name() -> None:
    assert (
        resolve_file("builtin:tiny/general_suite.jsonl") == Path(resolve_base("builtin:tiny")) / "general_suite.jsonl"
    )
    assert resolve_file("mine/suite.jsonl") == Path("mine/suite.jsonl")
    with pytest.raises(Unusable, match="builtin:huge"):
        resolve_file("builtin:huge/suite.jsonl")


def test_what_a_deployment_may_name_is_what_training_finds() -> None:
    assert installed.bases() == sorted(BUILTIN)
    assert installed.presets() == sorted(file.stem for file in FOLDER.glob("*.toml"))
    for name in installed.items() or ():
        assert resolve_file(name).is_file()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub that has one model only, and what it was asked; the cache is empty."""
    paths: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/org/" in self.path:  # the library asks of its own, once a process, what else it should tell the hub
                paths.append(self.path)
            is_there = self.path.startswith("/api/models/org/there")
            body = b'{"id": "org/there", "siblings": []}' if is_there else b'{"error": "Repository not found"}'
            self.send_response(200 if is_there else 404)
            if not is_there:
                self.send_header("x-error-code", "RepoNotFound")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub_is(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path)
    yield paths
    server.shutdown()
    server.server_close()


def hub_is(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_name_that_the_hub_has_is_left_to_transformers(asked: list[str]) -> None:
    assert resolve_base("org/there") == "org/there"
    assert len(asked) == 1


@pytest.mark.parametrize("load", [resolve_base, load_tokenizer, positions_of])
def test_a_name_that_is_neither_a_folder_nor_at_the_hub_is_refused_after_one_question(
    load: Any, asked: list[str]
) -> None:
    with pytest.raises(Unusable, match="'org/misspelt' is neither a folder here nor a model at http://127") as refused:
        load("org/misspelt")
    assert "builtin:tiny" in str(refused.value)
    assert len(asked) == 1


def test_a_name_that_the_hub_cannot_have_is_refused_without_asking(asked: list[str]) -> None:
    with pytest.raises(Unusable, match="neither a folder here nor a name the hub could have"):
        resolve_base("models/tiny/base")
    assert not asked


def test_a_hub_that_cannot_be_reached_is_no_wrong_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    hub_is(monkeypatch, f"http://127.0.0.1:{port}", tmp_path)
    with pytest.raises(Unavailable, match="cannot be asked for it now") as away:
        resolve_base("org/somewhere")
    assert "neither a folder nor in the cache" in str(away.value)


def test_an_offline_machine_says_that_it_may_not_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub_is(monkeypatch, "http://127.0.0.1:9", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unusable, match="HF_HUB_OFFLINE forbids"):
        resolve_base("org/somewhere")


def test_what_is_in_the_cache_needs_no_hub(asked: list[str], tmp_path: Path) -> None:
    repository = tmp_path / "models--org--cached"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("a" * 40) / "config.json").write_text("{}")
    assert resolve_base("org/cached") == "org/cached"
    assert not asked
