"""Two schedulers on one database: one job at a time stays one, one order stays one job."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import Engine

from services.scheduler import jobs, repository
from services.scheduler.consumer import SERVICE
from services.scheduler.orders import ScoredVersion
from services.scheduler.requests import request_training
from shared.db import open_database, reading, transaction
from shared.outbox import Outbox
from tests.databases import of_folder
from tests.services.scheduler.stage import BY_HAND, Stage

AT_ONCE = 6


@pytest.fixture
def engines(stage: Stage) -> Iterator[list[Engine]]:
    """As two processes have them."""
    made = [stage.engine, open_database(of_folder(stage.folder), SERVICE)]
    yield made
    made[1].dispose()


def test_schedulers_that_claim_at_once_run_one_job_where_one_is_allowed(stage: Stage, engines: list[Engine]) -> None:
    stage.train()
    stage.train(preset="careless")
    stage.evaluate()
    stage.evaluate(ScoredVersion(version="triage@base-11111111"))
    together = Barrier(AT_ONCE)

    def claim(number: int) -> jobs.Claim | None:
        together.wait()
        with transaction(engines[number % 2]) as session:
            return jobs.claim(
                session,
                Outbox(session, SERVICE),
                worker=f"w{number}",
                now=stage.now,
                lease_seconds=60.0,
                max_running=1,
                max_attempts=3,
            )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        claims = [found for found in pool.map(claim, range(AT_ONCE)) if found is not None]
    assert len(claims) == 1
    with reading(stage.engine) as session:
        assert repository.counts(session) == {"queued": 3, "running": 1, "done": 0, "failed": 0}


def test_one_order_that_is_asked_for_at_once_is_one_job(stage: Stage, engines: list[Engine]) -> None:
    snapshot = stage.intake.training_snapshot("triage")
    together = Barrier(AT_ONCE)

    def ask(number: int) -> str:
        intake = replace(stage.intake, engine=engines[number % 2], training_snapshot=lambda _workload: snapshot)
        together.wait()
        return request_training(intake, "triage", None, BY_HAND)[0].id

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert len(set(pool.map(ask, range(AT_ONCE)))) == 1
    with reading(stage.engine) as session:
        assert sum(repository.counts(session).values()) == 1
        assert repository.new_examples(session, "triage", "default") == 0
