"""The desk's page in a browser: opened, watched, and what it sent."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

PAGE = Path(__file__).parents[4] / "services" / "annotation" / "desk_page"
SCHEMA = {
    "type": "object",
    "required": ["queue", "priority"],
    "additionalProperties": False,
    "properties": {"queue": {"enum": ["network", "billing"]}, "priority": {"type": "integer"}},
}
ANSWER = '{"queue": "billing", "priority": "high"}'
FIXED = '{"queue": "network", "priority": 1}'


def item(sample_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "workload": "support-triage",
        "version": "support-triage@3f2a9c01d4e5b6a7",
        "messages": [
            {"role": "system", "content": "Sort it."},
            {"role": "user", "content": f"{sample_id}: no network"},
        ],
        "answer": ANSWER,
        "ideal": ANSWER,
        "signal": "schema_invalid",
        "confidence": 0.4,
        "served_at": "2026-11-20T09:12:33.120000Z",
        "feedback": [],
        "schema_errors": ["priority: 'high' is not an integer"],
        "state": "waiting",
        "verdict": None,
        **changes,
    }


@dataclass
class Desk:
    """A page on a served double, and what it sent."""

    url: str
    items: list[dict[str, Any]]
    page: Page
    sent: list[dict[str, Any]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def open(self) -> Page:
        self.page.on("request", self._saw)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(self.url)
        self.page.locator("#name-dialog[open]").wait_for()
        self.page.keyboard.type("Ines")
        self.page.keyboard.press("Enter")
        return self.page

    def shows(self, sample_id: str) -> None:
        expect(self.page.locator("#messages .user .text")).to_have_text(f"{sample_id}: no network")
        expect(self.page.locator("#submit")).to_be_enabled()

    def _saw(self, request: Any) -> None:
        self.hosts.add(request.url.split("/")[2])
        if request.method == "POST":
            self.sent.append(json.loads(request.post_data))
