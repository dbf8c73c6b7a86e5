"""A loop that turns once because of drift, watched by a real Prometheus and Alertmanager.

Answers come, experts correct, then users begin to dislike the answers: the alert Drift fires, Alertmanager tells the
scheduler, and again and again; a training starts, its candidate is judged and serves. All of it on the embedded parts.
"""

import itertools
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.cli.demo.scenario import WORKLOAD
from tests.loop.deployment import SERVICES, Deployment, deployment, until
from tests.real.monitoring.fast_monitoring import Monitoring, monitoring
from training.tiny.house import Ticket, ticket

CLIENTS = 4


@dataclass(frozen=True)
class Size:
    """How much is corrected before drift comes. Fewer than 200 examples: no training starts by their count."""

    train: int = 25
    holdout: int = 20
    preset: str = "careless"  # the quickest
    served: int = 40  # answers of the new version before the story ends


LARGER = Size(train=100, holdout=40, served=400)  # enough to learn from and to see: for the pictures


def _changes(size: Size) -> dict[str, str]:
    return {
        "min_groups = 60": f"min_groups = {size.holdout}",
        "holdout_share = 0.3": "holdout_share = 0.4",
        'scorer = "json_fields"': f'scorer = "json_fields"\npreset = "{size.preset}"',
        'general_suite = "builtin:tiny/general_suite.jsonl"\n': "",
    }


@dataclass
class WatchedLoop:
    loop: Deployment
    watching: Monitoring
    token: str
    size: Size
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    version: str = ""  # the candidate that serves at the end
    truths: dict[str, Ticket] = field(default_factory=dict)

    def turn(self) -> None:
        self._ask_until(lambda: self._stored() >= 4.5 * self.size.holdout + 30, pause=0.1)
        self._correct()
        self._ask_until(lambda: self._an_hour_ago() >= 100, pause=0.5)
        self._ask_until(self._the_alert_was_repeated, disliked=True, pause=0.1)
        with self._asking(pause=2.0):
            job = until(lambda: self._ended(self.loop.jobs("train")[-1]), "the training ends", 600)
            assert job["state"] == "done", job
            self.version = job["result"]["version"]
            self._let_it_serve()
            self._until_it_has_served()
        self.ended = time.time()

    def _ask_until(self, holds: Any, *, disliked: bool = False, pause: float = 0.0) -> None:
        with self._asking(disliked=disliked, pause=pause):
            until(holds, "enough was asked", 120)

    @contextmanager
    def _asking(self, *, disliked: bool = False, pause: float = 0.0) -> Iterator[None]:
        over = threading.Event()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._ask_on, over, disliked, pause) for _ in range(CLIENTS)]
            try:
                yield
            finally:
                over.set()
            for client in clients:
                client.result(60)

    def _ask_on(self, over: threading.Event, disliked: bool, pause: float) -> None:
        with httpx.Client(base_url=self.loop.settings.url_of("gateway"), timeout=60) as client:
            while not over.is_set():
                number = next(_NUMBERS)
                asked = ticket(number)
                self.truths[asked.text] = asked
                messages = [{"role": "user", "content": asked.text}]
                body = {
                    "model": WORKLOAD,
                    "messages": messages,
                    "temperature": 0,
                    "max_tokens": 96,
                    "stream": number % 4 == 0,
                }
                answer = client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                if disliked:
                    told = {"answer_id": answer.headers["x-ratchet-answer-id"], "thumb": "down"}
                    client.post("/v1/feedback", json=told).raise_for_status()
                over.wait(pause)

    def _stored(self) -> int:
        return int(self.loop.store()["samples"])

    def _an_hour_ago(self) -> float:
        """Samples that lie more than an hour, on the faster clock, back."""
        return self.watching.figure("workload:ratchet_annotation_samples:increase7d")

    def _correct(self) -> None:
        """Until a training and a verdict are possible."""
        while (store := self.loop.store())["holdout_groups"] < self.size.holdout or store["train"] < self.size.train:
            found = self.loop.get("annotation", f"/v1/desk/next?workload={WORKLOAD}&annotator=test")["item"]
            assert found is not None, "the desk is empty before the holdout is large enough"
            truth = self.truths[found["messages"][-1]["content"]]
            good = found["answer"].strip() == truth.answer
            verdict = {"annotator": "test", "verdict": "good" if good else "fix", "ideal": truth.answer, "reasons": []}
            self.loop.post("annotation", f"/v1/desk/items/{found['sample_id']}/verdict", verdict)

    def _the_alert_was_repeated(self) -> bool:
        """Alertmanager told the scheduler, who took it, and told it three times more."""
        heard = 'ratchet_scheduler_alerts_total{{outcome="{}"}}'.format
        return self.watching.figure(heard("accepted")) >= 1 and self.watching.figure(heard("ignored")) >= 3

    @staticmethod
    def _ended(job: dict[str, Any]) -> dict[str, Any] | None:
        return job if job["state"] in ("done", "failed") else None

    def _let_it_serve(self) -> None:
        """By the gate, or by hand where so small a holdout could not tell."""
        found = until(
            lambda: next((m for m in self.loop.models() if m["version"] == self.version and m["verdict"]), None),
            "the candidate is judged",
            600,
        )
        if found["verdict"] != "PROMOTE":
            said = {"who": "test", "why": "to see it serve", "override": True}
            self.loop.post("promotion", f"/v1/models/{self.version}/promote", said)

    def _until_it_has_served(self) -> None:
        """Prometheus has seen the verdict, the new version, and answers since."""
        serves = f'ratchet_promotion_champion_info{{version="{self.version}"}}'
        until(lambda: self.watching.now(serves), "the new version is seen to serve")
        answers = 'sum(ratchet_gateway_answers_total{status="200"})'
        before = self.watching.figure(answers)
        with self._asking(pause=0.2):
            until(lambda: self.watching.figure(answers) >= before + self.size.served, "it answers")
        until(lambda: self.watching.figure("sum(ratchet_promotion_verdicts_total)") >= 1, "the verdict is counted")


_NUMBERS = itertools.count()


@contextmanager
def watched_loop(folder: Path, size: Size) -> Iterator[WatchedLoop]:
    token = secrets.token_hex(16)
    with deployment(folder / "data", _changes(size), RATCHET_SCHEDULER_ALERT_TOKEN=token) as loop:
        places = {name: loop.settings.url_of(name).removeprefix("http://") for name in SERVICES}
        with monitoring(folder / "monitoring", places, token) as watching:
            yield WatchedLoop(loop, watching, token, size)
