"""PostgreSQL is stopped with `-m immediate` while events and verdicts come in: all waits, nothing is lost or doubled.

RATCHET_TEST_OUTAGE_SECONDS=60 makes the outage as long as the one that is promised; the shorter one exceeds every
timeout of a connection too.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine

from shared import topics
from shared.bus import Bus, Outgoing, open_bus
from shared.db import CONNECT_TIMEOUT_SECONDS
from shared.events import TOPIC_OF, AnswerServed, Event, ExampleCurated, SampleCorrected, decode, encode, key_of
from shared.processes import free_ports
from tests.databases import make_tables
from tests.real.postgres.cluster import Cluster, own_cluster
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
OUTAGE_SECONDS = float(os.environ.get("RATCHET_TEST_OUTAGE_SECONDS", CONNECT_TIMEOUT_SECONDS + 3))
SERVICES = ("annotation", "scheduler", "promotion")
CONFIG = """
[models.tiny]
path = "builtin:tiny"
[workloads.triage]
base = "tiny"
trigger = { min_new_examples = 100000 }
selection = { audit_share = 1.0, daily_budget = 100000 }
"""


class Services:
    """Those that keep rows, each as its own process, on one database and the embedded bus."""

    def __init__(self, folder: Path, database: str) -> None:
        (folder / "ratchet.toml").write_text(CONFIG)
        bus_url = f"sqlite:///{folder / 'bus.db'}"
        ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        environment = {
            **os.environ,
            "RATCHET_CONFIG": str(folder / "ratchet.toml"),
            "RATCHET_DATA_DIR": str(folder),
            "RATCHET_DATABASE_URL": database,
            "RATCHET_BUS_URL": bus_url,
            **{f"RATCHET_{name.upper()}_PORT": str(port) for name, port in ports.items()},
        }
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.log = folder / "log"
        self.bus: Bus = open_bus(bus_url)
        self.bus.ensure_topics()
        with self.log.open("ab") as log:
            self.processes = {
                name: subprocess.Popen(
                    [sys.executable, "-m", f"services.{name}"], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
                for name in SERVICES
            }

    def objections(self, name: str) -> list[str] | None:
        """None: ready."""
        assert self.processes[name].poll() is None, f"{name} ended:\n{self.log.read_text()[-5000:]}"
        try:
            answer = httpx.get(f"{self.urls[name]}/readyz", timeout=30)
        except httpx.TransportError:
            return ["it does not answer yet"]
        return None if answer.status_code == 200 else list(answer.json()["objections"])

    def ready(self) -> bool:
        return all(self.objections(name) is None for name in SERVICES)

    def publish(self, *events: Event) -> None:
        self.bus.publish([Outgoing(TOPIC_OF[type(e)], key_of(e), encode(e, "tester")) for e in events])

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(40)
        self.bus.close()


@contextmanager
def running(folder: Path, database: str) -> Iterator[Services]:
    services = Services(folder, database)
    try:
        yield services
    finally:
        services.close()


class Load:
    """Answers and curated examples as they come in, and an expert at the desk who asks again when told to."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ended = threading.Event()
        self.sent = 0
        self.refused = Counter[int]()
        self.verdicts: set[str] = set()
        self._threads = [threading.Thread(target=part) for part in (self._events, self._expert)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _events(self) -> None:
        while not self._ended.wait(0.02):
            n = self.sent
            question = [
                {"role": "user", "content": f"Ticket {n}: what is wrong with {n:x}-{n * 7919:x}-{n * 104729:x}?"}
            ]
            answer = AnswerServed(answer_id=f"a{n}", workload="triage", version="v", messages=question, answer="yes")
            example = ExampleCurated(
                example_id=f"e{n}", correction_id=f"c{n}", workload="triage", split="train", group=f"g{n}"
            )
            self._services.publish(answer, example)
            self.sent += 1

    def _expert(self) -> None:
        url = self._services.urls["annotation"]
        with httpx.Client(timeout=30) as client:
            while not self._ended.wait(0.05):
                answer = client.get(f"{url}/v1/desk/next", params={"workload": "triage", "annotator": "ada"})
                if answer.status_code == 200 and (item := answer.json()["item"]):
                    self._judge(client, f"{url}/v1/desk/items/{item['sample_id']}/verdict", item["sample_id"])
                elif answer.status_code != 200:
                    self.refused[answer.status_code] += 1

    def _judge(self, client: httpx.Client, url: str, sample_id: str) -> None:
        verdict = {"verdict": "fix", "ideal": f"no, {sample_id}", "annotator": "ada"}
        while not self._ended.is_set():
            answer = client.post(url, json=verdict)
            if answer.status_code in (200, 201):
                self.verdicts.add(sample_id)
                return
            self.refused[answer.status_code] += 1
            assert answer.headers["retry-after"]
            self._ended.wait(0.2)


def scalars(url: str, query: str) -> list[Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql(query).scalars())
    engine.dispose()
    return found


@pytest.fixture
def cluster(servers: RunningStack) -> Iterator[Cluster]:
    servers.need("postgres")  # installs it
    with own_cluster() as made:
        yield made


@pytest.mark.timeout(900)
def test_a_database_that_is_stopped_under_load_is_waited_for_and_nothing_is_lost_or_doubled(
    cluster: Cluster, tmp_path: Path
) -> None:
    make_tables(cluster.url)
    with running(tmp_path, cluster.url) as services:
        until(services.ready, seconds=240)
        load = Load(services)
        until(lambda: len(load.verdicts) >= 10, seconds=120)

        cluster.stop("immediate")
        stopped_at, sent_before = time.monotonic(), load.sent
        for name in SERVICES:
            until(lambda name=name: services.objections(name) is not None)  # type: ignore[misc]
            said = services.objections(name) or []
            assert any("the database cannot be used now" in objection for objection in said), said
        until(lambda: time.monotonic() - stopped_at > OUTAGE_SECONDS, seconds=OUTAGE_SECONDS + 60)
        assert load.sent > sent_before
        cluster.start()

        until(services.ready, seconds=120)
        kept = len(load.verdicts)
        until(lambda: len(load.verdicts) >= kept + 10, seconds=120)
        load.end()
        until(lambda: len(scalars(cluster.url, "SELECT answer_id FROM samples")) == load.sent, seconds=120)
        theirs = "SELECT example_id FROM scheduler_examples WHERE example_id NOT LIKE 'ex-%%'"
        until(lambda: len(scalars(cluster.url, theirs)) == load.sent, seconds=120)
        until(lambda: not scalars(cluster.url, "SELECT id FROM outbox"), seconds=120)

        everything = [f"{n}" for n in range(load.sent)]
        assert sorted(scalars(cluster.url, "SELECT answer_id FROM samples")) == sorted(f"a{n}" for n in everything)
        assert sorted(scalars(cluster.url, theirs)) == sorted(f"e{n}" for n in everything)
        assert sum(scalars(cluster.url, "SELECT samples FROM prompt_groups")) == load.sent
        # Each verdict is one correction, told once: an event published again keeps its id.
        judged = scalars(cluster.url, "SELECT sample_id FROM corrections")
        assert len(judged) == len(set(judged))
        assert load.verdicts <= set(judged)
        told = {(e.id, f.correction_id) for e, f in facts(services.bus) if isinstance(f, SampleCorrected)}
        assert sorted(c for _, c in told) == sorted(scalars(cluster.url, "SELECT correction_id FROM corrections"))
        assert list(services.bus.history(topics.DEAD)) == []
        assert set(load.refused) <= {503}
        assert load.refused[503] > 0


def facts(bus: Bus) -> list[tuple[Any, Event]]:
    return [decode(record.value) for record in bus.history(topics.CURATION)]


@pytest.mark.timeout(300)
def test_a_service_that_starts_while_the_database_is_away_says_so_in_a_sentence_and_ends(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.stop("fast")
    try:
        (tmp_path / "ratchet.toml").write_text(CONFIG)
        environment = {
            **os.environ,
            "RATCHET_CONFIG": str(tmp_path / "ratchet.toml"),
            "RATCHET_DATA_DIR": str(tmp_path),
            "RATCHET_DATABASE_URL": cluster.url,
        }
        command = [sys.executable, "-m", "services.promotion"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 75
        assert "the database cannot be used now" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        cluster.start()
