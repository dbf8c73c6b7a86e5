"""The gateways side by side: how each is set up and started in front of the same model server, and how it is asked.

Each gets what its own documentation says is fastest for one core, and no logging of answers; ours has its spool and
Kafka on. `serving` yields it answering, on one core, and ends it with everything below it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from benchmarks.gateway import nginx, traffic
from benchmarks.gateway.family import Family
from benchmarks.gateway.install import PeerInstaller
from benchmarks.gateway.load import Question
from infra.native.processes import kill_session, send
from shared.processes import free_ports

STOP_SECONDS = 20
READY_SECONDS = 180  # litellm takes 35 s on a quiet machine
SAID = "http://said"  # in a question's URL: the address that the gateway prints when it has chosen its port
_KEY = "sk-0123456789abcdef0123456789abcdef"
_OWN = """\
[models.tiny]
path = "builtin:tiny"
[models.streamed]
path = "builtin:tiny"
[workloads.whole]
base = "tiny"
[workloads.stream]
base = "streamed"
"""
_TENSORZERO = """\
[gateway]
observability.enabled = false
[models.whole]
routing = ["up"]
[models.whole.providers.up]
type = "openai"
model_name = "tiny"
api_base = "{whole}/v1/"
api_key_location = "none"
[models.stream]
routing = ["up"]
[models.stream.providers.up]
type = "openai"
model_name = "tiny"
api_base = "{stream}/v1/"
api_key_location = "none"
"""
_LITELLM = """\
model_list:
  - model_name: whole
    litellm_params: {{model: openai/tiny, api_base: "{whole}/v1", api_key: none}}
  - model_name: stream
    litellm_params: {{model: openai/tiny, api_base: "{stream}/v1", api_key: none}}
litellm_settings: {{request_timeout: 600, set_verbose: false, telemetry: false}}
general_settings: {{master_key: {key}}}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One gateway, ready to be started. A question of `None` is one it cannot answer."""

    name: str
    command: Sequence[str | Path]
    whole: Question
    stream: Question | None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    peer: Peer
    family: Family


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where the model server answers, and where it streams."""

    whole_port: int
    stream_port: int

    @property
    def whole(self) -> str:
        return f"http://127.0.0.1:{self.whole_port}"

    @property
    def stream(self) -> str:
        return f"http://127.0.0.1:{self.stream_port}"


Making = Callable[[Path, Upstreams, PeerInstaller], Peer]


def own(bus_url: str) -> Making:
    def make(folder: Path, to: Upstreams, _installer: PeerInstaller) -> Peer:
        port, promotion_port = free_ports(2)
        (folder / "ratchet.toml").write_text(_OWN, "utf-8")
        environment = {
            "RATCHET_CONFIG": str(folder / "ratchet.toml"),
            "RATCHET_DATA_DIR": str(folder / "data"),
            "RATCHET_GATEWAY_PORT": str(port),
            "RATCHET_PROMOTION_PORT": str(promotion_port),
            "RATCHET_UPSTREAM_URLS": f"tiny={to.whole},streamed={to.stream}",
            "RATCHET_BUS_URL": bus_url,
            "RATCHET_LOG_LEVEL": "WARNING",
        }
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        asked = [_question(folder, url, kind) for kind in ("whole", "stream")]
        return Peer("ratchet", [sys.executable, "-m", "services.gateway"], *asked, environment)

    return make


def plain_nginx(folder: Path, to: Upstreams, _installer: PeerInstaller) -> Peer:
    whole_port, stream_port = free_ports(2)
    command = nginx.proxy(folder, (whole_port, stream_port), (to.whole_port, to.stream_port))
    asked = [
        _question(folder, f"http://127.0.0.1:{port}/v1/chat/completions", kind)
        for port, kind in ((whole_port, "whole"), (stream_port, "stream"))
    ]
    return Peer("nginx", command, *asked)


def tensorzero(folder: Path, to: Upstreams, installer: PeerInstaller) -> Peer:
    file = folder / "tensorzero.toml"
    file.write_text(_TENSORZERO.format(whole=to.whole, stream=to.stream), "utf-8")
    python, program = installer.python("tensorzero"), Path(__file__).with_name("tensorzero_gateway.py")
    url = f"{SAID}/chat/completions"
    asked = [_question(folder, url, kind, f"tensorzero::model_name::{kind}") for kind in ("whole", "stream")]
    return Peer("tensorzero", [python, program, file], *asked, {"RUST_LOG": "error"})


def litellm(folder: Path, to: Upstreams, installer: PeerInstaller) -> Peer:
    (port,) = free_ports(1)
    file = folder / "litellm.yaml"
    file.write_text(_LITELLM.format(key=_KEY, whole=to.whole, stream=to.stream), "utf-8")
    program = [installer.python("litellm"), "-m", "litellm.proxy.proxy_cli"]
    command = [*program, "--config", file, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    asked = [_question(folder, url, kind, headers=[f"Authorization: Bearer {_KEY}"]) for kind in ("whole", "stream")]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    return Peer("litellm", command, *asked, environment)


def portkey(folder: Path, to: Upstreams, installer: PeerInstaller) -> Peer:
    """Its streaming fails on node 20, so it is asked for whole answers only."""
    (port,) = free_ports(1)
    headers = ["x-portkey-provider: openai", f"x-portkey-custom-host: {to.whole}/v1", "Authorization: Bearer none"]
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = [
        "node",
        "--require",
        Path(__file__).with_name("loopback.cjs"),
        installer.portkey(),
        f"--port={port}",
        "--headless",
    ]
    return Peer("portkey", command, _question(folder, url, "whole", headers=headers), None, {"NODE_ENV": "production"})


@contextmanager
def serving(peer: Peer, folder: Path, core: int) -> Iterator[Running]:
    """Answering, with all its processes on one core."""
    with started(peer.name, peer.command, folder, core, peer.environment) as process:
        log = folder / f"{peer.name}.log"
        if SAID in peer.whole.url:
            peer = _where_it_says(peer, process, log)
        for question in filter(None, (peer.whole, peer.stream)):
            _wait_until_answered(question, process, log)
        yield Running(peer, Family(process.pid))


@contextmanager
def started(
    name: str, command: Sequence[str | Path], folder: Path, core: int, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A server in a session of its own, ended with everything below it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RATCHET_")}
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)],
        env={**inherited, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=(folder / f"{name}.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        Family(process.pid).go_on()
        send(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        kill_session(process.pid)
        process.wait()


def _question(folder: Path, url: str, kind: str, model: str = "", headers: Sequence[str] = ()) -> Question:
    stream = kind == "stream"
    name = model or kind
    body = folder / f"{name.replace(':', '_')}.json"
    body.write_bytes(traffic.request(name, stream=stream))
    return Question(url, body, headers, stream)


def _where_it_says(peer: Peer, process: "subprocess.Popen[bytes]", log: Path) -> Peer:
    deadline = time.monotonic() + READY_SECONDS
    while not (said := re.search(r"^http://\S+$", log.read_text("utf-8", "replace"), re.MULTILINE)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{peer.name} does not say where it listens: {log.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.1)
    asked = {
        kind: replace(question, url=question.url.replace(SAID, said[0]))
        for kind, question in (("whole", peer.whole), ("stream", peer.stream))
        if question is not None
    }
    return replace(peer, **asked)


def _wait_until_answered(question: Question, process: "subprocess.Popen[bytes]", log: Path) -> None:
    headers = dict(line.split(": ", 1) for line in question.headers) | {"content-type": "application/json"}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            httpx.post(question.url, content=question.body.read_bytes(), headers=headers, timeout=30).raise_for_status()
            return
        except httpx.HTTPError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", "replace")[-2000:]
                raise SystemExit(f"{question.url} does not answer ({error}); {log.stem} said: {said}") from error
            time.sleep(0.1)
