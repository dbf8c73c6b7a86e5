"""The demo's expert: simulated, but it works the desk as a person's browser does, through the same HTTP calls.

It knows the house's right answer of each ticket the demo made, sees the model's answer, and says "good" or writes what
the answer should have been. It never learns which items are held out: the desk does not tell.
"""

from typing import Any, Protocol

import httpx

from services.cli.demo.scenario import WORKLOAD
from training.tiny.house import Ticket

NAME = "simulated-expert"


class Expert(Protocol):
    corrections: int

    async def correct_next(self, truths: dict[str, Ticket]) -> dict[str, Any] | None:
        """Works on the next waiting item whose ticket is in `truths` (by its text); the desk's progress afterwards.

        None when nothing of them waits. Items of other tickets are passed over and stay waiting.
        """

    async def close(self) -> None: ...


class SimulatedExpert:
    def __init__(self, annotation_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=annotation_url, timeout=60)
        self._after: str | None = None
        self.corrections = 0

    async def correct_next(self, truths: dict[str, Ticket]) -> dict[str, Any] | None:
        while True:
            asked = {"workload": WORKLOAD, "annotator": NAME, "after": self._after}
            response = await self._client.get("/v1/desk/next", params={k: v for k, v in asked.items() if v is not None})
            response.raise_for_status()
            item = response.json()["item"]
            if item is None:
                self._after = None
                return None
            ticket = truths.get(item["messages"][-1]["content"])
            if ticket is not None:
                return await self._decide(item, ticket)
            self._after = item["sample_id"]

    async def _decide(self, item: dict[str, Any], ticket: Ticket) -> dict[str, Any]:
        verdict = {"annotator": NAME, **verdict_of(item["answer"], ticket)}
        response = await self._client.post(f"/v1/desk/items/{item['sample_id']}/verdict", json=verdict)
        response.raise_for_status()
        self.corrections += 1
        progress: dict[str, Any] = response.json()["progress"]
        return progress

    async def close(self) -> None:
        await self._client.aclose()


def verdict_of(answer: str, ticket: Ticket) -> dict[str, Any]:
    """What an expert who knows the house says of an answer."""
    good = answer.strip() == ticket.answer
    return {"verdict": "good" if good else "fix", "ideal": ticket.answer, "reasons": [] if good else ["format"]}


def words(text: str) -> str:
    """The text as a page may show it: line breaks and spaces fall together."""
    return " ".join(text.split())
