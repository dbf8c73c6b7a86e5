"""One turn of the loop, act by act: ask, correct, train carelessly, be refused, train well, be promoted.

It talks to the services over HTTP only. Every figure it shows comes from a service's answer or from an answer of the
model.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.cli.demo.application import Application, Reply
from services.cli.demo.expert import Expert, SimulatedExpert
from services.cli.demo.figures import Figures
from services.cli.demo.scenario import (
    CLIENTS,
    FIRST_REQUESTS,
    FRESH_TICKETS,
    MIN_GROUPS,
    TRAIN_EXAMPLES,
    WORKLOAD,
)
from services.cli.demo.screen import Screen
from shared.errors import Unavailable
from shared.settings import SharedSettings
from training.tiny.house import Ticket, ticket

SEEDS_A_DEMO = 100_000  # tickets of one demo never meet those of another seed
START_SECONDS, STEP_SECONDS = 180.0, 120.0
STILL_SECONDS = 600.0  # a job that shows no progress for so long is given up; how long it takes is the machine's affair


@dataclass
class Turn:
    """One turn of the loop. The methods are the acts, in order."""

    screen: Screen
    settings: SharedSettings
    seed: int
    truths: dict[str, Ticket] = field(default_factory=dict)
    requests: int = 0
    services: tuple[str, ...] = ("gateway", "model_server", "annotation", "scheduler", "promotion")
    swap_pause_seconds: float = 1.5  # of each client, between two requests

    def __post_init__(self) -> None:
        first = self.seed * SEEDS_A_DEMO
        self._to_correct = (ticket(s) for s in itertools.count(first))
        self._fresh = [ticket(s) for s in range(first + 50_000, first + 50_000 + FRESH_TICKETS)]
        self._swap_tickets = (ticket(s) for s in itertools.count(first + 60_000))
        self._client = httpx.AsyncClient(timeout=60)
        self._careless_job = ""

    async def run(self) -> Figures:
        application = Application(self.settings.url_of("gateway"))
        expert = self.expert()
        try:
            await self._services_ready()
            before = await self._ask_fresh(application, "before")
            await self._ask_first(application)
            await self._correct_first(expert, application)
            careless, _ = await asyncio.gather(
                self._train_carelessly(),
                # Meanwhile the work goes on, until there are enough new examples for a training to start by itself.
                self._correct_until(expert, application, train=TRAIN_EXAMPLES, holdout=MIN_GROUPS),
            )
            promoted, swap = await self._train_well(application)
            after = await self._ask_fresh(application, "after")
            return Figures(
                before=before,
                after=after,
                careless=careless,
                promoted=promoted,
                swap=swap,
                requests=self.requests,
                seconds=self.screen.elapsed(),
                seed=self.seed,
            )
        finally:
            await application.close()
            await expert.close()
            await self._client.aclose()

    def expert(self) -> Expert:
        return SimulatedExpert(self.settings.url_of("annotation"))

    async def _services_ready(self) -> None:
        names = self.services
        self.screen.step(f"Starting {len(names)} services")
        deadline = time.monotonic() + START_SECONDS
        waiting = set(names)
        while waiting:
            for name in sorted(waiting):
                if await self._is_ready(name):
                    waiting.discard(name)
            self.screen.progress("services ready", len(names) - len(waiting), len(names))
            if waiting and time.monotonic() > deadline:
                raise Unavailable(f"{', '.join(sorted(waiting))} did not become ready in {START_SECONDS:.0f} s")
            await asyncio.sleep(0.2)

    async def _ask_fresh(self, application: Application, when: str) -> list[Reply]:
        """The same fresh tickets before and after; the expert never corrects them."""
        done = itertools.count(1)
        name = f"fresh requests, {when}"
        replies = await application.ask_all(
            self._fresh, lambda _: self.screen.progress(name, next(done), len(self._fresh))
        )
        self.requests += len(replies)
        return replies

    async def _ask_first(self, application: Application) -> None:
        self.screen.step(f"An application sends {FIRST_REQUESTS} tickets; the bare base model answers")
        await self._ask_more(application, FIRST_REQUESTS)

    async def _ask_more(self, application: Application, count: int) -> list[Reply]:
        tickets = list(itertools.islice(self._to_correct, count))
        self.truths.update({t.text: t for t in tickets})
        before = self.requests

        def count_reply(_reply: Reply) -> None:
            self.requests += 1
            self.screen.progress("requests answered", self.requests - before, count)

        replies = await application.ask_all(tickets, count_reply)
        failed = [r.failed for r in replies if r.failed]
        if failed:
            raise Unavailable(f"{len(failed)} of {count} requests failed, the first: {failed[0]}")
        await application.thumbs_down(replies[0])
        stored = await self._until_stored()
        self.screen.progress("samples stored", stored, self.requests)
        self.screen.say(f"an answer: {replies[0].answer[:100]!r}")
        self.screen.say(f"the house wants: {replies[0].ticket.answer!r}")
        return replies

    async def _until_stored(self) -> int:
        """Every answer went through spool and bus into annotation's table."""
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            status = await self._get("annotation", "/v1/status")
            stored = int(status["workloads"].get(WORKLOAD, {}).get("samples", 0))
            self.screen.progress("samples stored", stored, self.requests)
            if stored >= self.requests:
                return stored
            if time.monotonic() > deadline:
                raise Unavailable(f"only {stored} of {self.requests} answers were stored after {STEP_SECONDS:.0f} s")
            await asyncio.sleep(0.2)

    async def _correct_first(self, expert: Expert, application: Application) -> None:
        self.screen.step("The expert corrects until the holdout is large enough to judge by")
        await self._correct_until(expert, application, train=TRAIN_EXAMPLES // 2, holdout=MIN_GROUPS)

    async def _train_carelessly(self) -> dict[str, Any]:
        self.screen.step("Somebody in a hurry trains at once, without replay (preset careless)")
        body = {"kind": "train", "workload": WORKLOAD, "preset": "careless", "why": "in a hurry", "who": "demo"}
        job = await self._post("scheduler", "/v1/jobs", body)
        self._careless_job = str(job["job_id"])
        version = await self._follow_training(self._careless_job)
        return await self._follow_verdict(version)

    async def _train_well(self, application: Application) -> tuple[dict[str, Any], list[Reply]]:
        version = await self._follow_training(await self._second_training(application))
        self.screen.step("Eight clients go on asking while the candidate is judged and takes over")
        async with application.asking_on(self._swap_tickets, pause_seconds=self.swap_pause_seconds) as replies:
            verdict = await self._follow_verdict(version)
            if verdict["verdict"] == "PROMOTE":
                await self._until_serving(replies, version)
        self.requests += len(replies)
        failed = [r for r in replies if r.failed]
        self.screen.say(f"{len(replies)} requests during the swap, {len(failed)} failed")
        return verdict, replies

    async def _second_training(self, application: Application) -> str:
        """What starts the training with the default preset; the job's id."""
        self.screen.step(f"{TRAIN_EXAMPLES} new examples start a training by themselves (preset default)")
        return await self._new_training({self._careless_job})

    async def _correct_until(self, expert: Expert, application: Application, *, train: int, holdout: int) -> None:
        """Corrects what waits, and lets the application ask more when nothing does."""
        while True:
            progress = await expert.correct_next(self.truths)
            if progress is None:
                await self._ask_more(application, 20)
                continue
            note = f"{progress['examples']} examples"
            self.screen.progress("corrections made", expert.corrections, len(self.truths), note)
            if progress["examples"] < train + holdout or progress["examples"] % 5:
                continue
            # The desk does not tell which side of the holdout an item is on, so the demo asks the service.
            store = (await self._get("annotation", "/v1/status"))["workloads"][WORKLOAD]
            if store["train"] >= train and store["holdout_groups"] >= holdout:
                self.screen.say(f"{store['train']} examples to train on, {store['holdout_groups']} groups held out")
                return

    async def _trainings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            await self._get("scheduler", "/v1/jobs", {"workload": WORKLOAD, "kind": "train"})
        )["jobs"]
        return found

    async def _new_training(self, earlier: set[str], seconds: float = STEP_SECONDS) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for job in await self._trainings():
                if job["job_id"] not in earlier:
                    self.screen.say(f"a training starts: {job['why']}")
                    return str(job["job_id"])
            await asyncio.sleep(0.3)
        status = await self._get("scheduler", "/v1/status")
        raise Unavailable(f"no training started by itself; the scheduler says {status['workloads'].get(WORKLOAD)}")

    async def _follow_training(self, job_id: str) -> str:
        job = await self._follow_job(job_id, "training")
        return str(job["result"]["version"])

    async def _follow_job(self, job_id: str, name: str) -> dict[str, Any]:
        patience = Patience(STILL_SECONDS, f"the {name}")
        while True:
            job: dict[str, Any] = await self._get("scheduler", f"/v1/jobs/{job_id}")
            self._show_job(job, name)
            patience.look(job)
            if job["state"] == "done":
                return job
            if job["state"] == "failed":
                raise Unavailable(f"the {name} failed: {job['error']}")
            await asyncio.sleep(0.5)

    def _show_job(self, job: dict[str, Any], name: str) -> None:
        progress = job.get("progress") or {}
        if progress.get("steps"):
            note = f"loss {progress['loss']:.3f}" if progress.get("loss") is not None else ""
            self.screen.progress(f"{name} {job['job_id'][-4:]}", progress.get("step", 0), progress["steps"], note)
        elif progress.get("total"):
            note = f"{progress.get('suite', '')} {progress.get('version', '')}"
            self.screen.progress(f"{name} {job['job_id'][-4:]}", progress.get("done", 0), progress["total"], note)

    async def _follow_verdict(self, version: str) -> dict[str, Any]:
        """Shows the evaluation and returns the report's data."""
        self.screen.say(f"candidate {version}; champion and candidate answer the held-out tickets now")
        patience = Patience(STILL_SECONDS, f"the evaluation of {version}")
        while True:
            model = await self._get("promotion", f"/v1/models/{version}", absent_is_none=True)
            if model and model.get("verdict"):
                break
            jobs = await self._get("scheduler", "/v1/jobs", {"workload": WORKLOAD, "kind": "evaluate"})
            for job in jobs["jobs"][:1]:
                self._show_job(job, "evaluation")
            patience.look(jobs["jobs"][:1])
            await asyncio.sleep(0.3)
        report: dict[str, Any] = await self._get("promotion", f"/v1/reports/{version}.json")
        style = {"PROMOTE": "bold green", "REJECT": "bold red"}.get(report["verdict"], "bold yellow")
        self.screen.say(f"{report['verdict']}  {version}", style=style)
        for reason in report["reasons"]:
            self.screen.say(f"  {reason}")
        return report

    async def _until_serving(self, replies: list[Reply], version: str) -> None:
        """Until the last answers of the clients all come from the new version."""
        deadline = time.monotonic() + STEP_SECONDS
        while {reply.version for reply in replies[-3 * CLIENTS :]} != {version}:
            if time.monotonic() > deadline:
                last = replies[-1].version if replies else "nothing"
                raise Unavailable(f"{STEP_SECONDS:.0f} s after the verdict {last} still answers, not {version}")
            await asyncio.sleep(0.1)

    async def _is_ready(self, service: str) -> bool:
        try:
            return (await self._client.get(f"{self.settings.url_of(service)}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def _get(
        self, service: str, path: str, params: dict[str, str] | None = None, *, absent_is_none: bool = False
    ) -> Any:
        try:
            response = await self._client.get(f"{self.settings.url_of(service)}{path}", params=params)
        except httpx.HTTPError as error:
            raise Unavailable(f"{service} does not answer: {error}") from error
        if response.status_code == 404 and absent_is_none:
            return None
        if response.status_code >= 400:
            raise Unavailable(f"{service} answered {response.status_code} to {path}: {response.text[:300]}")
        return response.json()

    async def _post(self, service: str, path: str, body: Any) -> Any:
        response = await self._client.post(f"{self.settings.url_of(service)}{path}", json=body)
        if response.status_code >= 400:
            raise Unavailable(f"{service} answered {response.status_code} to {path}: {response.text[:300]}")
        return response.json()


class Patience:
    """Ends, with Unavailable, when what it is shown has stayed the same for too long."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds, self._what = seconds, what
        self._seen: object = None
        self._since = time.monotonic()

    def look(self, state: object) -> None:
        if state != self._seen:
            self._seen, self._since = state, time.monotonic()
        elif time.monotonic() - self._since > self._seconds:
            raise Unavailable(f"{self._what} has shown no progress for {self._seconds:.0f} s")
