import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shared.processes import free_ports
from shared.workloads import read_deployment
from tests.services.cli.test_supervisor import until


def ratchet(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a new user runs it: an empty folder, nothing set but what a test sets."""
    base = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "COLUMNS": "160"}
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env={**base, **environment}, capture_output=True, text=True, timeout=60)


def nowhere() -> dict[str, str]:
    names = ("GATEWAY", "MODEL_SERVER", "ANNOTATION", "SCHEDULER", "PROMOTION")
    return {f"RATCHET_{n}_PORT": str(p) for n, p in zip(names, free_ports(len(names)), strict=True)}


def test_init_writes_a_file_that_up_accepts(tmp_path: Path) -> None:
    done = ratchet("init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    deployment = read_deployment(tmp_path / "ratchet.toml")
    assert deployment.workloads["support-triage"].gate.min_groups == 200


def test_init_replaces_nothing_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "ratchet.toml").write_text("mine")
    done = ratchet("init", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "ratchet.toml").read_text()) == (2, "mine")
    assert "--force" in done.stderr
    assert ratchet("init", "--force", cwd=tmp_path).returncode == 0


def test_up_without_a_file_says_how_to_get_one(tmp_path: Path) -> None:
    done = ratchet("up", cwd=tmp_path)
    assert done.returncode == 2
    assert "ratchet init" in done.stderr
    assert not (tmp_path / "data").exists()


def test_up_refuses_a_bad_file_with_key_and_value(tmp_path: Path) -> None:
    ratchet("init", cwd=tmp_path)
    path = tmp_path / "ratchet.toml"
    path.write_text(path.read_text().replace("# alpha = 0.01 ", "alpha = 7 "))
    done = ratchet("up", cwd=tmp_path)
    assert done.returncode == 2
    assert "workloads.support-triage.gate.alpha is 7" in done.stderr


def test_a_setting_of_the_wrong_type_is_named_as_people_set_it(tmp_path: Path) -> None:
    done = ratchet("status", cwd=tmp_path, RATCHET_GATEWAY_PORT="many")
    assert done.returncode == 2
    assert "RATCHET_GATEWAY_PORT='many'" in done.stderr


def test_status_says_what_is_down(tmp_path: Path) -> None:
    done = ratchet("status", cwd=tmp_path, **nowhere())
    assert done.returncode == 1
    assert "ratchet up" in done.stdout
    states = json.loads(ratchet("status", "--json", cwd=tmp_path, **nowhere()).stdout)["services"]
    assert {service["state"] for service in states.values()} == {"down"}


@pytest.mark.parametrize("command", [["models"], ["jobs"], ["knowledge"], ["train", "x"], ["rollback", "x"]])
def test_a_command_whose_service_is_down_says_so_in_a_sentence(command: list[str], tmp_path: Path) -> None:
    done = ratchet(*command, cwd=tmp_path, **nowhere())
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_help(tmp_path: Path) -> None:
    page = ratchet("--help", cwd=tmp_path).stdout
    for command in ("init", "up", "demo", "status", "models", "promote", "rollback", "lineage", "knowledge"):
        assert command in page
        assert ratchet(command, "--help", cwd=tmp_path).returncode == 0


def test_a_demo_that_is_stopped_leaves_no_service_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "demo", "--data", str(tmp_path / "data")]
    demo = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "data" / "up.log"
    until(lambda: log.exists() and log.read_text().count("started, process") == 5)
    started = psutil.Process(demo.pid).children(recursive=True)
    assert len(started) >= 6
    demo.terminate()
    assert demo.wait(60) == 143
    _gone, alive = psutil.wait_procs(started, timeout=30)
    assert not alive, alive
