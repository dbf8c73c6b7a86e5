"""The process: a mistake is told at once, SIGTERM lets answers in flight end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.processes import free_ports

TOML = '[models.small]\npath = "{path}"\n[workloads.triage]\nbase = "small"\n'


def command(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def environment(config: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RATCHET_")}
    return kept | {"RATCHET_CONFIG": str(config), "RATCHET_MODEL_SERVER_THREADS": "1"} | more


@pytest.mark.parametrize(
    ("toml", "more", "says"),
    [
        (None, {}, "does not exist; `ratchet init` writes one"),
        (TOML, {"RATCHET_MODEL_SERVER_MODEL": "large"}, "RATCHET_MODEL_SERVER_MODEL is 'large'"),
        (TOML, {"RATCHET_MODEL_SERVER_MAX_BATCH": "many"}, "RATCHET_MODEL_SERVER_MAX_BATCH='many'"),
    ],
)
def test_a_mistake_in_the_settings_is_told_before_torch_is_imported(
    tmp_path: Path, toml: str | None, more: dict[str, str], says: str
) -> None:
    config = tmp_path / "ratchet.toml"
    if toml is not None:
        config.write_text(toml.format(path="builtin:tiny"))
    ended = subprocess.run(
        command("-X", "importtime", "-m", "services.model_server"),
        env=environment(config, **more), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "| torch\n" not in ended.stderr


@contextmanager
def server(tmp_path: Path, base: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    config = tmp_path / "ratchet.toml"
    config.write_text(TOML.format(path=base))
    (port,) = free_ports(1)
    process = subprocess.Popen(
        command("-m", "services.model_server"), env=environment(config, RATCHET_MODEL_SERVER_PORT=str(port))
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline, waiter = time.monotonic() + 240, threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            waiter.wait(0.1)
    raise AssertionError("the server did not become ready")


@pytest.mark.slow
def test_sigterm_lets_answers_in_flight_end(tmp_path: Path, base_folder: Path) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 200, "ignore_eos": True, "stream": True}
    with server(tmp_path, base_folder) as (process, url):
        until_ready(process, url)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            events = [line for line in lines if line]
        assert events[-1] == "data: [DONE]"
        assert len(events) == 201
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
