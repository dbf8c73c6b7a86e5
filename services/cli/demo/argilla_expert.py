"""The demo's expert at an Argilla: simulated, with an annotator's account, through the calls that its page makes.

It answers the records Argilla has for it in Argilla's order and never learns which are held out. What it submits is a
correction only when the annotation service has fetched it, so its progress is what that service says.
"""

import asyncio
import html
import time
from collections import deque
from typing import Any

import httpx

from services.cli.demo.expert import verdict_of, words
from services.cli.demo.scenario import WORKLOAD
from shared.errors import Unavailable
from training.tiny.house import Ticket

PAGE = 200
STILL_SECONDS = 120.0  # desk and Argilla's index both lag; without any change for so long something is broken
_PENDING = {
    "filters": {
        "and": [{"type": "terms", "scope": {"entity": "response", "property": "status"}, "values": ["pending"]}]
    }
}


class ArgillaExpert:
    def __init__(self, argilla_url: str, annotator_key: str, annotation_url: str) -> None:
        headers = {"X-Argilla-Api-Key": annotator_key}
        self._argilla = httpx.AsyncClient(base_url=f"{argilla_url}/api/v1", headers=headers, timeout=60)
        self._annotation = httpx.AsyncClient(base_url=annotation_url, timeout=60)
        self._waiting: deque[dict[str, Any]] = deque()
        self._seen: set[str] = set()
        self._passed_over = 0
        self.corrections = 0

    async def dataset_with(self, records: int) -> str:
        """The newest dataset's id, as soon as so many records wait in it."""
        deadline = time.monotonic() + STILL_SECONDS
        while True:
            for dataset in (await self._datasets())[-1:]:
                path = f"/me/datasets/{dataset['id']}/records/search"
                found = await self._argilla.post(path, params={"limit": 1}, json=_PENDING)
                if found.raise_for_status().json()["total"] >= records:
                    return str(dataset["id"])
            if time.monotonic() > deadline:
                raise Unavailable(f"Argilla did not have {records} records to correct after {STILL_SECONDS:.0f} s")
            await asyncio.sleep(0.5)

    async def correct_next(self, truths: dict[str, Ticket]) -> dict[str, Any] | None:
        since, before = time.monotonic(), None
        by_words = {words(text): ticket for text, ticket in truths.items()}
        while True:
            while self._waiting:
                record = self._waiting.popleft()
                if (ticket := by_words.get(words(asked_in(record)))) is not None:
                    await self._decide(record, ticket)
                    return await self._progress()
                self._passed_over += 1
            await self._look()
            if self._waiting:
                continue
            state = await self._state()
            # In the demo every sample is shown, so what is neither corrected nor passed over is still on its way.
            if state["samples"] <= state["corrected"] + self._passed_over:
                return None
            if state != before:
                since, before = time.monotonic(), state
            if time.monotonic() - since > STILL_SECONDS:
                raise Unavailable(f"nothing has moved between desk and Argilla for {STILL_SECONDS:.0f} s: {state}")
            await asyncio.sleep(0.5)

    def leave_to_others(self, record_ids: set[str]) -> None:
        """Records somebody else answers; `corrections` counts what they did."""
        self._seen |= record_ids
        self.corrections += len(record_ids)

    async def close(self) -> None:
        await self._argilla.aclose()
        await self._annotation.aclose()

    async def _look(self) -> None:
        """What waits for this annotator, as Argilla's page asks for it."""
        for dataset in await self._datasets():
            path = f"/me/datasets/{dataset['id']}/records/search"
            response = await self._argilla.post(path, params={"limit": PAGE}, json=_PENDING)
            response.raise_for_status()
            for item in response.json()["items"]:
                record = item["record"]
                if record["id"] not in self._seen:
                    self._seen.add(record["id"])
                    self._waiting.append(record)

    async def _datasets(self) -> list[dict[str, Any]]:
        """Those of the demo's workload, oldest version first."""
        response = await self._argilla.get("/me/datasets")
        mine = [d for d in response.raise_for_status().json()["items"] if d["name"].startswith(f"{WORKLOAD}.v")]
        return sorted(mine, key=lambda dataset: str(dataset["inserted_at"]))

    async def _decide(self, record: dict[str, Any], ticket: Ticket) -> None:
        decided = verdict_of(as_read(record["fields"]["answer"]), ticket)
        values = {"verdict": {"value": decided["verdict"]}, "ideal": {"value": decided["ideal"]}}
        if decided["reasons"]:
            values["reasons"] = {"value": decided["reasons"]}
        body = {"status": "submitted", "values": values}
        response = await self._argilla.post(f"/records/{record['id']}/responses", json=body)
        response.raise_for_status()
        self.corrections += 1

    async def _progress(self) -> dict[str, Any]:
        state = await self._state()
        return {"examples": state["train"] + state["holdout"]}

    async def _state(self) -> dict[str, int]:
        response = await self._annotation.get("/v1/status")
        response.raise_for_status()
        state = response.json()["workloads"][WORKLOAD]
        return {name: int(state[name]) for name in ("samples", "corrected", "train", "holdout")}


def asked_in(record: dict[str, Any]) -> str:
    """The last thing the user said in it, as an annotator reads it."""
    return as_read(record["fields"]["conversation"][-1]["content"])


def as_read(markdown: str) -> str:
    """What the page shows of a field: its entities are characters, its hard breaks are lines."""
    return html.unescape(markdown).replace("\N{NO-BREAK SPACE}", " ").replace("  \n", "\n")
