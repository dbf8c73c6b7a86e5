"""The desk as people meet it: the real annotation service in its own process, fed over the real bus."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from shared.bus import Outgoing, open_bus
from shared.events import TOPIC_OF, AnswerServed, Event, FeedbackGiven, encode, key_of
from tests.databases import make_tables
from tests.services.annotation.desk_page.screen import ANSWER, FIXED, SCHEMA, Desk

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CONFIG = """
[models.tiny]
path = "builtin:tiny"

[workloads.support-triage]
base = "tiny"
answer_schema = "schema.json"
grouping = { ignore_digits = false, similarity = 1.0 }
selection = { audit_share = 1.0 }
"""
HOSTILE = "</textarea><script>window.pwned=1</script><img src=x onerror='window.pwned=1'><svg onload='window.pwned=1'>"


@dataclass
class Service:
    """The annotation service on a port of its own; it can be killed and started again on the same data."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        settings = {
            "RATCHET_DATA_DIR": str(self.folder),
            "RATCHET_CONFIG": str(self.folder / "ratchet.toml"),
            "RATCHET_ANNOTATION_PORT": str(self.port),
            "RATCHET_ANNOTATION_DESK_INTERVAL_SECONDS": "0.2",
        }
        make_tables(f"sqlite:///{self.folder / 'ratchet.db'}")
        command = [sys.executable, "-m", "services.annotation"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **settings}, stderr=log, stdout=log)
        until(lambda: httpx.get(self.url + "readyz").status_code == 200, self.log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def get(self, path: str, **params: Any) -> Any:
        return httpx.get(self.url + path, params=params).raise_for_status().json()

    def hears(self, *events: Event) -> None:
        """Returns once every answer among the events is on the desk."""
        bus = open_bus(f"sqlite:///{self.folder / 'bus.db'}")
        bus.publish([Outgoing(TOPIC_OF[type(e)], key_of(e), encode(e, "gateway")) for e in events])
        bus.close()
        wanted = sum(isinstance(event, AnswerServed) for event in events)
        until(lambda: len(self.get("v1/desk/items", workload="support-triage")["items"]) >= wanted, self.log)

    def corrections(self, answer_id: str) -> list[dict[str, Any]]:
        ids = self.get(f"v1/samples/{answer_id}")["correction_ids"]
        return [self.get(f"v1/corrections/{correction_id}") for correction_id in ids]


def until(holds: Callable[[], bool], log: Callable[[], str], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    pytest.fail(f"it did not come true in {seconds:g} s; the service said:\n{log()[-3000:]}")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "ratchet.toml").write_text(CONFIG)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        started = Service(tmp_path, free.getsockname()[1])
    started.start()
    yield started
    started.kill()


@pytest.fixture
def desk(service: Service, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(15_000)
    yield Desk(service.url, [], context.new_page())
    context.close()


def answered(answer_id: str, prompt: str, answer: str = ANSWER) -> AnswerServed:
    return AnswerServed(
        answer_id=answer_id,
        workload="support-triage",
        version="support-triage@3f2a9c01d4e5b6a7",
        messages=[{"role": "system", "content": "Sort it."}, {"role": "user", "content": prompt}],
        answer=answer,
        served_at="2026-11-20T09:12:33.120000Z",
    )


PROMPTS = {"a1": "the router is silent", "a2": "where is my invoice", "a3": "qwertz", "a4": "who is on call tonight"}
KEYS = {"a2": ["g"], "a3": ["d"], "a4": ["f", "4"]}


def test_each_verdict_given_by_keyboard_ends_where_it_should(service: Service, desk: Desk) -> None:
    right = {"a2": '{"queue": "billing", "priority": 2}'}
    service.hears(*(answered(answer_id, prompt, right.get(answer_id, ANSWER)) for answer_id, prompt in PROMPTS.items()))
    page = desk.open()
    for done in range(len(PROMPTS)):
        expect(page.locator("#waiting")).to_have_text(str(len(PROMPTS) - done))
        expect(page.locator("#submit")).to_be_enabled()
        shown = page.locator("#messages .user .text").inner_text()
        answer_id = next(key for key, prompt in PROMPTS.items() if prompt == shown)
        if answer_id == "a1":
            page.keyboard.press("e")
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(FIXED)
        for key in KEYS.get(answer_id, []):
            page.keyboard.press(key)
        page.keyboard.press("Control+Enter")
    expect(page.locator("#empty-title")).to_be_visible()
    outcomes = {answer_id: service.corrections(answer_id)[0] for answer_id in PROMPTS}
    assert {key: (c["verdict"], c["outcome"]) for key, c in outcomes.items()} == {
        "a1": ("fix", "example"),
        "a2": ("good", "example"),
        "a3": ("discard", "discarded"),
        "a4": ("fix", "knowledge_gap"),
    }
    assert (outcomes["a1"]["ideal"], outcomes["a1"]["annotator"]) == (FIXED, "Ines")
    assert desk.complaints == []


def test_what_the_service_refuses_can_be_mended_and_sent(service: Service, desk: Desk) -> None:
    service.hears(answered("a1", PROMPTS["a1"]))
    page = desk.open()
    page.locator("#ideal").fill('{"queue": "network"}')
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_contain_text("answer schema")
    assert service.corrections("a1") == []
    page.locator("#ideal").fill(FIXED)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#empty-title")).to_be_visible()
    assert [c["ideal"] for c in service.corrections("a1")] == [FIXED]


def test_hostile_text_from_the_bus_runs_nothing(service: Service, desk: Desk) -> None:
    told = FeedbackGiven(
        feedback_id="f1", answer_id="a1", thumb="down", comment=HOSTILE, suggested_answer=HOSTILE, given_at="2026-11-20"
    )
    service.hears(answered("a1", HOSTILE, HOSTILE), told)
    until(lambda: bool(service.get("v1/desk/items/a1")["feedback"]), service.log)
    page = desk.open()
    expect(page.locator("#answer")).to_have_text(HOSTILE)
    expect(page.locator("#feedback-list")).to_contain_text(HOSTILE)
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img, main svg, main script").count() == 0
    assert desk.complaints == []


def test_a_verdict_outlives_the_service_that_was_killed_under_it(service: Service, desk: Desk) -> None:
    service.hears(answered("a1", PROMPTS["a1"]))
    page = desk.open()
    page.locator("#ideal").fill(FIXED)
    service.kill()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_contain_text("kept in this browser")
    service.start()
    page.locator("#notice-now").click()
    expect(page.locator("#empty-title")).to_be_visible(timeout=15_000)
    assert [c["ideal"] for c in service.corrections("a1")] == [FIXED]
