"""The annotation service and `ratchet desk` on a real Argilla: the commands, and a webhook that is obeyed at once."""

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus import Outgoing, open_bus
from shared.events import AnswerServed, encode
from shared.topics import ANSWERS
from tests.real.argilla.desk_world import Argilla
from tests.services.annotation.test_service import Service

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def service(tmp_path: Path, argilla: Argilla) -> Iterator[Service]:
    running = Service(tmp_path)
    running.environment |= {
        "RATCHET_DESK_URL": f"argilla+{argilla.url}",
        "RATCHET_DESK_API_KEY": argilla.api_key,
        "RATCHET_DESK_WORKSPACE": f"t{secrets.token_hex(4)}",
        "RATCHET_ANNOTATION_DESK_INTERVAL_SECONDS": "600",  # only a webhook makes it look
    }
    yield running
    if running.process is not None and running.process.poll() is None:
        running.end(signal.SIGKILL)
    for hook in argilla.get("/webhooks")["items"]:
        if hook["url"].startswith(running.url):
            argilla.call("DELETE", f"/webhooks/{hook['id']}")
    for workspace in argilla.workspaces() & {running.environment["RATCHET_DESK_WORKSPACE"]}:
        for dataset_id in argilla.datasets(workspace).values():
            argilla.call("DELETE", f"/datasets/{dataset_id}")


def ratchet(service: Service, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.cli", *words]
    return subprocess.run(command, env=service.environment, capture_output=True, text=True, timeout=120)


def answered(service: Service, answer_id: str) -> None:
    bus = open_bus(service.settings.bus)
    bus.ensure_topics()
    messages = [{"role": "user", "content": "What is wrong with the router?"}]
    event = AnswerServed(answer_id=answer_id, workload="triage", version="v", messages=messages, answer="yes")
    bus.publish([Outgoing(ANSWERS, event.answer_id, encode(event, "gateway"))])
    bus.close()


def test_from_setup_to_a_correction_by_webhook(service: Service, argilla: Argilla) -> None:
    workspace = service.environment["RATCHET_DESK_WORKSPACE"]
    name = f"ada-{workspace}"
    first = ratchet(service, "desk", "setup", "--annotator", name)
    assert first.returncode == 0, first.stderr
    assert re.search(rf"annotator {name}: password \S{{12,}} \(shown once\)", first.stdout)
    again = ratchet(service, "desk", "setup", "--annotator", name)
    assert f"annotator {name}: had an account already" in again.stdout
    [(dataset, dataset_id)] = argilla.datasets(workspace).items()
    assert dataset in again.stdout

    service.start()
    answered(service, "a1")
    record = service.until(lambda: argilla.records(dataset_id).get("a1"))
    assert httpx.get(f"{service.url}/desk", follow_redirects=False).headers["location"] == argilla.url
    key = argilla.key_of(name)
    body: dict[str, Any] = {"status": "submitted", "values": {"verdict": {"value": "good"}}}
    service.until(lambda: httpx.get(f"{service.url}/v1/samples/a1").json()["state"] == "waiting")
    began = time.monotonic()
    argilla.call("POST", f"/records/{record['id']}/responses", key=key, json=body).raise_for_status()
    service.until(lambda: httpx.get(f"{service.url}/v1/samples/a1").json()["correction_ids"])
    print(f"\na correction {time.monotonic() - began:.1f} s after it was submitted, by webhook", flush=True)

    shown = ratchet(service, "desk", "status")
    assert dataset in shown.stdout
    assert "triage: agreement not measured yet" in shown.stdout
    assert f"{name}: 1 answers" in shown.stdout
    status = json.loads(ratchet(service, "desk", "status", "--json").stdout)
    assert status["workloads"]["triage"]["annotators"][name]["answers"] == 1
    forged = httpx.post(f"{service.url}/v1/webhooks/argilla", json={"type": "response.created"})
    assert forged.status_code == 401


def test_a_wrong_address_or_key_is_a_sentence(service: Service) -> None:
    service.environment["RATCHET_DESK_API_KEY"] = "wrong"
    wrong = ratchet(service, "desk", "setup")
    assert wrong.returncode == 2, wrong.stderr
    assert "RATCHET_DESK_API_KEY has to be the key of an owner" in wrong.stderr
    service.environment["RATCHET_DESK_URL"] = "argilla+http://127.0.0.1:9"
    away = ratchet(service, "desk", "setup")
    assert away.returncode == 1
    assert "cannot be reached" in away.stderr
    assert "Traceback" not in wrong.stderr + away.stderr
