"""infra/Dockerfile as far as it goes without Docker: linted, and its `services` stage done by hand.

The same `uv pip install` lines make an environment that this test's user may not write to; each service is started
from there by its line in docker-compose.yml, as another user where root runs this, with a data folder as its only
writable place beside the temporary one, and must answer its health check.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from services.cli.starter import write_starter
from shared.processes import free_ports
from tests.real.stack import until

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "infra" / "Dockerfile"
PARTS: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
LEAN = sorted(name for name, part in PARTS.items() if part.get("build", {}).get("target") == "services")
BIN = Path(sys.executable).parent
NOBODY = 65534


def test_the_linter_has_nothing_to_say_of_the_dockerfile() -> None:
    done = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_stage_runs_as_a_user_that_is_not_root_and_has_a_health_check() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS ([\w-]+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE.read_text("utf-8"), re.M | re.S))
    assert "USER 10001:10001" in stages["run"]
    for name in ("services", "training"):
        assert "USER" not in stages[name]
        assert "HEALTHCHECK" in stages[name]
        assert f"COPY --from=build-{name} " in stages[name]


def test_what_is_left_out_without_torch_is_asked_for_with_it() -> None:
    left_out = set(re.findall(r"^([a-z-]+) ; ", (ROOT / "infra/without-torch.txt").read_text("utf-8"), re.M))
    asked_for = set(re.findall(r'^    "([a-z-]+)', (ROOT / "pyproject.toml").read_text("utf-8"), re.M))
    assert "torch" in left_out
    assert left_out <= asked_for


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The `services` stage: what /opt/ratchet of that image is, in a folder that others may read and not write."""
    folder = Path(tempfile.mkdtemp(prefix="ratchet-image-"))
    folder.chmod(0o755)
    try:
        _build(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_services_image_holds_no_torch_and_no_cuda(image: Path) -> None:
    listed = subprocess.run(
        [BIN / "uv", "pip", "list", "--python", image / "environment/bin/python"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split(" ")[0].lower() for line in listed.stdout.splitlines()}
    assert {"ratchet", "fastapi", "kafka-python", "alembic", "psycopg"} <= names
    assert not {
        name for name in names if name.startswith(("torch", "nvidia", "cuda", "triton", "transformers", "peft"))
    }


@pytest.mark.slow
def test_each_of_its_services_starts_from_a_read_only_place_and_is_healthy(image: Path) -> None:
    with _services(image, ["promotion", "annotation", "gateway"]) as urls:
        for name, url in urls.items():
            assert httpx.get(f"{url}/healthz").json()["service"] == name


def _build(folder: Path) -> None:
    source, python = folder / "source", folder / "environment/bin/python"
    source.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"], check=True)
    for name in ("pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(ROOT / name, source / name)
    for name in ("infra", "services", "shared", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for line in _installations():
        words = shlex.split(line)
        command = [str(BIN / "uv"), *words[1:3], "--python", str(python), *words[3:]]
        settings = {**os.environ, "UV_COMPILE_BYTECODE": "1"}  # as there: nobody may write it later
        done = subprocess.run(command, cwd=source, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    shutil.rmtree(source)  # the image does not have it: what is needed is installed


def _installations() -> list[str]:
    """The lines of the stages `build` and `build-services`, in their order."""
    text = DOCKERFILE.read_text("utf-8")
    build, services = re.findall(r"^FROM \S+ AS (?:build|build-services)\n(.*?)(?=^FROM)", text, re.M | re.S)
    lines = re.findall(r"uv pip install [^\n]*", build + services)
    assert len(lines) == 2
    return lines


@contextmanager
def _services(image: Path, names: list[str]) -> Iterator[dict[str, str]]:
    """Started by their lines in docker-compose.yml, on embedded bus and database; yields when all are ready."""
    data = Path(tempfile.mkdtemp(prefix="ratchet-image-data-"))
    write_starter(data, force=False)
    if os.geteuid() == 0:
        shutil.chown(data, NOBODY, NOBODY)
        for path in data.iterdir():
            path.chmod(0o644)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    environment = {
        "PATH": f"{image / 'environment/bin'}:/usr/bin:/bin",
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
        "RATCHET_CONFIG": str(data / "ratchet.toml"),
        "RATCHET_DATA_DIR": str(data / "data"),
        **{f"RATCHET_{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }
    running: list[subprocess.Popen[bytes]] = []

    def run(command: list[str]) -> subprocess.Popen[bytes]:
        with (data.parent / f"{data.name}.log").open("ab") as log:
            return subprocess.Popen([*_as_nobody(), *command], cwd=data, env=environment, stdout=log, stderr=log)

    try:
        assert run(PARTS["migrate"]["command"]).wait(120) == 0, _log(data)
        running = [run(PARTS[name]["command"]) for name in names]
        until(lambda: all(_is_healthy(image, url, environment) for url in urls.values()), 120)
        yield urls
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
        shutil.rmtree(data)
        (data.parent / f"{data.name}.log").unlink()


def _as_nobody() -> list[str]:
    """Where root runs this: a user that owns nothing. It may read all, for Python itself may lie in root's folder."""
    if os.geteuid() != 0:
        return []
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reads]


def _is_healthy(image: Path, url: str, environment: dict[str, str]) -> bool:
    """By the image's own health check."""
    command = [image / "environment/bin/python", "-m", "infra.healthcheck", f"{url}/readyz"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _log(data: Path) -> str:
    return (data.parent / f"{data.name}.log").read_text("utf-8", "replace")[-2000:]
