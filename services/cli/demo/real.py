"""`ratchet demo --real`: the same turn through Kafka, PostgreSQL, Argilla, vLLM, Prometheus and Alertmanager.

The expert is simulated, with an annotator's account of Argilla: its first corrections are made in Argilla's page by
Chromium, the rest by the calls that page makes. The second training starts because users complain: Prometheus sees the
drift, Alertmanager tells the scheduler. One thing is not as in production: the drift rule looks at minutes instead of
hours and days (`hurried`), since nobody waits a week for a demo.
"""

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console

from infra.native.prometheus import RULES
from services.cli.demo.application import Application
from services.cli.demo.argilla_expert import ArgillaExpert
from services.cli.demo.argilla_page import Annotator, correct_in_the_page
from services.cli.demo.expert import Expert
from services.cli.demo.scenario import MIN_GROUPS, environment, write_scenario
from services.cli.demo.servers import running_servers
from services.cli.demo.stage import fresh, perform, see_only, stop_on_sigterm
from services.cli.demo.turn import Turn
from shared.errors import BadConfig, Unavailable

IN_THE_PAGE = 10
COMPLAINTS = 64  # requests of a round of users who complain
NEVER = 1_000_000  # new examples: here only the alert, or somebody by hand, starts a training
DRIFT_SECONDS = 240.0
_HURRIED = {
    "interval: 1m": "interval: 5s",
    "[1h]": "[1m]",
    "[7d]": "[10m]",
    "offset 1h": "offset 1m",
    "for: 10m": "for: 10s",
}


def run_real_demo(folder: Path, *, seed: int, keep: bool) -> int:
    stop_on_sigterm()
    console, folder = Console(), fresh(folder)
    write_scenario(folder, min_new_examples=NEVER)
    hurried(RULES, folder / "rules")
    console.print(f"[bold]Ratchet's loop through the real servers, once.[/bold] Everything stays in {folder}")
    console.print(
        "The expert is simulated (an annotator in Argilla: Chromium in its page, then its API). The demo's holdout "
        f"needs {MIN_GROUPS} groups, the default is 200; its drift rule looks at a minute against ten, the real one at "
        "an hour against a week.\n",
        highlight=False,
    )
    settings_environment = environment(folder)
    # Prometheus and Alertmanager are told where the services will be.
    see_only(settings_environment)
    with running_servers(console, folder, rules=folder / "rules") as addresses:
        settings_environment |= addresses
        annotator = _set_up_the_desk(settings_environment)
        console.print(
            f"Experts: {addresses['RATCHET_DESK_URL'].removeprefix('argilla+')} as {annotator.name}, password "
            f"{annotator.password} (both end with the demo)\n",
            highlight=False,
            markup=False,
        )
        return perform(
            console,
            folder,
            settings_environment,
            lambda screen, settings: RealTurn(screen, settings, seed, annotator=annotator),
            keep=keep,
        )


def hurried(rules: Path, folder: Path) -> None:
    """The rules, with the drift's windows and waits shortened."""
    folder.mkdir(parents=True)
    for file in sorted(rules.glob("*.yml")):
        text = file.read_text("utf-8")
        if file.name == "drift.yml":
            for slow, quick in _HURRIED.items():
                if slow not in text:
                    raise BadConfig(f"{file} has no {slow!r} any more; the demo's clock does not fit it")
                text = text.replace(slow, quick)
        (folder / file.name).write_text(text, "utf-8")


@dataclass
class RealTurn(Turn):
    services: tuple[str, ...] = ("gateway", "annotation", "scheduler", "promotion")
    swap_pause_seconds: float = 6.0  # nine servers beside it: the evaluation takes longer
    annotator: Annotator = field(kw_only=True)

    def expert(self) -> Expert:
        self._expert = ArgillaExpert(_argilla(), self.annotator.api_key, self.settings.url_of("annotation"))
        return self._expert

    async def _correct_first(self, expert: Expert, application: Application) -> None:
        self.screen.step(f"The expert corrects the first {IN_THE_PAGE} in Argilla's page, in Chromium")
        dataset_id = await self._expert.dataset_with(IN_THE_PAGE + len(self._fresh))
        done = await correct_in_the_page(
            _argilla(), dataset_id, self.annotator, self.truths, IN_THE_PAGE,
            lambda count: self.screen.progress("corrections in the page", count, IN_THE_PAGE),
        )  # fmt: skip
        self._expert.leave_to_others(done)
        await super()._correct_first(expert, application)

    async def _second_training(self, application: Application) -> str:
        self.screen.step("Users complain: a drift alert starts a training (preset default)")
        waiting = asyncio.create_task(self._new_training({self._careless_job}, DRIFT_SECONDS))
        deadline = time.monotonic() + DRIFT_SECONDS
        while not waiting.done() and time.monotonic() < deadline:
            replies = await self._ask_more(application, COMPLAINTS)
            for reply in replies[1:]:  # the first one has its thumb already
                await application.thumbs_down(reply)
            for _ in range(20):
                self.screen.progress("drift alert", await self._alert(), 2, "1 pending, 2 firing")
                await asyncio.wait([waiting], timeout=0.5)
        return await waiting

    async def _alert(self) -> int:
        """0 no alert, 1 pending, 2 firing; by Prometheus."""
        url = os.environ["RATCHET_PROMETHEUS_URL"]
        try:
            alerts = (await self._client.get(f"{url}/api/v1/alerts")).raise_for_status().json()["data"]["alerts"]
        except httpx.HTTPError as error:
            raise Unavailable(f"Prometheus does not answer: {error}") from error
        mine = [a["state"] for a in alerts if a["labels"].get("alertname") == "Drift"]
        return 2 if "firing" in mine else len(mine[:1])


def _set_up_the_desk(settings_environment: dict[str, str]) -> Annotator:
    """By `ratchet desk setup`, as an operator does it."""
    name = f"expert-{secrets.token_hex(3)}"
    line = [sys.executable, "-m", "services.cli", "desk", "setup", "--annotator", name]
    done = subprocess.run(line, env=settings_environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"`ratchet desk setup` failed: {done.stderr.strip() or done.stdout.strip()}")
    password = re.search(rf"{name}: password (\S+)", done.stdout)
    if password is None:
        raise Unavailable(f"`ratchet desk setup` named no password for {name}: {done.stdout.strip()}")
    headers = {"X-Argilla-Api-Key": settings_environment["RATCHET_DESK_API_KEY"]}
    url = settings_environment["RATCHET_DESK_URL"].removeprefix("argilla+")
    try:
        users = httpx.get(f"{url}/api/v1/users", headers=headers, timeout=60).raise_for_status().json()["items"]
    except httpx.HTTPError as error:
        raise Unavailable(f"Argilla does not tell its users: {error}") from error
    return Annotator(name, password[1], next(u["api_key"] for u in users if u["username"] == name))


def _argilla() -> str:
    return os.environ["RATCHET_DESK_URL"].removeprefix("argilla+")
