"""The demo's application: it asks the gateway over OpenAI's wire, as any application would."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from services.cli.demo.scenario import CLIENTS, WORKLOAD
from training.suites import json_fields
from training.tiny.house import Ticket


@dataclass(frozen=True, slots=True)
class Reply:
    ticket: Ticket
    answer: str
    answer_id: str
    version: str
    failed: str | None  # what went wrong, in words


class Application:
    def __init__(self, gateway_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=gateway_url, timeout=60, limits=httpx.Limits(max_connections=CLIENTS))

    async def ask(self, ticket: Ticket) -> Reply:
        body = {
            "model": WORKLOAD,
            "messages": [{"role": "user", "content": ticket.text}],
            "temperature": 0,
            "max_tokens": 96,
        }
        try:
            response = await self._client.post("/v1/chat/completions", json=body)
            version = response.headers.get("x-ratchet-version", "")
            answer_id = response.headers.get("x-ratchet-answer-id", "")
            if response.status_code != 200:
                return Reply(ticket, "", answer_id, version, f"{response.status_code}: {response.text[:200]}")
            answer = response.json()["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            return Reply(ticket, "", "", "", f"{type(error).__name__}: {error}")
        return Reply(ticket, answer, answer_id, version, None)

    async def thumbs_down(self, reply: Reply) -> None:
        body = {"answer_id": reply.answer_id, "thumb": "down", "comment": "not our format"}
        (await self._client.post("/v1/feedback", json=body)).raise_for_status()

    async def ask_all(self, tickets: Iterable[Ticket], on_reply: Callable[[Reply], None]) -> list[Reply]:
        """By CLIENTS concurrent clients; in the order of the tickets."""
        clients = asyncio.Semaphore(CLIENTS)

        async def one(ticket: Ticket) -> Reply:
            async with clients:
                reply = await self.ask(ticket)
            on_reply(reply)
            return reply

        return list(await asyncio.gather(*[one(t) for t in tickets]))

    @asynccontextmanager
    async def asking_on(self, tickets: Iterable[Ticket], pause_seconds: float) -> AsyncIterator[list[Reply]]:
        """CLIENTS clients that go on asking until the block ends; the list grows with each reply."""
        replies: list[Reply] = []
        supply = iter(tickets)
        ended = asyncio.Event()

        async def client() -> None:
            while not ended.is_set():
                replies.append(await self.ask(next(supply)))
                await asyncio.sleep(pause_seconds)

        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        try:
            yield replies
        finally:
            ended.set()
            await asyncio.gather(*clients)

    async def close(self) -> None:
        await self._client.aclose()


def is_exact(reply: Reply) -> bool:
    """All five fields and nothing else, by the scorer that the gate uses."""
    return json_fields.score(reply.ticket.answer, reply.answer, None).exact


def fields_right(reply: Reply) -> float:
    """0-1: the share of the five fields that are right; 0 when the answer is no JSON object."""
    fields = json_fields.score(reply.ticket.answer, reply.answer, None).fields or {}
    return sum(fields.values()) / len(reply.ticket.fields)
