"""The clock's hand: every tick each workload's triggers are looked at, and a training is asked for where one is due.

APScheduler only ticks: memory store, UTC, late ticks run once. What a tick knows is in the database, so a nightly that
was missed while the service was down runs once at the start.
Fails: annotation or the database away -> the next tick tries again; what cannot work now is asked again when examples
have come, or a minute later; an error that nobody foresaw stops the process (on_crash).
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from services.scheduler import repository
from services.scheduler.jobs import Asked
from services.scheduler.metrics import LAST_TRAINING, NEEDED_EXAMPLES, NEW_EXAMPLES, TRIGGERS
from services.scheduler.requests import Intake, request_training
from services.scheduler.triggers import Decision, Skip, Standing, Start, Wait, decide
from shared.db import reading, transaction
from shared.errors import Unavailable, Unusable

log = logging.getLogger(__name__)

REFUSED_PAUSE_SECONDS = 60.0


class Ticker:
    def __init__(self, intake: Intake, tick_seconds: float, on_crash: Callable[[BaseException], None]) -> None:
        self._intake, self._on_crash = intake, on_crash
        self._refused: dict[str, tuple[int, float, str]] = {}  # workload -> new examples then, until, why
        self._clockwork = BackgroundScheduler(timezone=UTC)
        self._job = self._clockwork.add_job(
            self._tick_or_crash,
            "interval",
            seconds=tick_seconds,
            coalesce=True,
            misfire_grace_time=None,
            max_instances=1,
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a tick that is still busy is no news
        self._clockwork.start()

    def wake(self) -> None:
        """Something was counted: look now."""
        if self._clockwork.running:
            self._job.modify(next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Returns when the tick under way has ended."""
        if self._clockwork.running:
            self._clockwork.shutdown(wait=True)

    def tick(self) -> None:
        """Looks at every workload once."""
        for workload in self._intake.deployment.workloads:
            try:
                self._look_at(workload)
            except Unavailable as error:
                log.warning("the triggers of %s wait: %s", workload, error)

    def decision(self, workload: str, standing: Standing, now: float) -> Decision:
        """What the triggers say, and after a refusal what annotation or the job table said."""
        decision = decide(self._intake.workload(workload).trigger, standing, now)
        examples, until, why = self._refused.get(workload, (0, 0.0, ""))
        if isinstance(decision, Start) and now < until and standing.new_examples == examples:
            return Wait(f"{decision.why}, but it was refused: {why}")
        return decision

    def _tick_or_crash(self) -> None:
        try:
            self.tick()
        except BaseException as error:
            log.exception("the ticks stop")
            self._on_crash(error)

    def _look_at(self, workload: str) -> None:
        declared, now = self._intake.workload(workload), self._intake.clock()
        with reading(self._intake.engine) as session:
            followed = repository.follows_cron(session, workload, declared.trigger.cron)
        if not followed:
            with transaction(self._intake.engine) as session:
                repository.follow_cron(session, workload, declared.trigger.cron, now)
        with reading(self._intake.engine) as session:
            standing = repository.standing(session, workload, declared.preset)
        NEW_EXAMPLES.labels(workload).set(standing.new_examples)
        NEEDED_EXAMPLES.labels(workload).set(declared.trigger.min_new_examples)
        if standing.last_training_at is not None:
            LAST_TRAINING.labels(workload).set(standing.last_training_at)
        decision = self.decision(workload, standing, now)
        if isinstance(decision, Wait):
            return
        refused = isinstance(decision, Start) and not self._start(workload, decision, standing, now)
        if isinstance(decision, Skip):
            log.info("%s: %s", workload, decision.why)
        with transaction(self._intake.engine) as session:
            repository.settle_occasions(session, workload, now, refused=refused)

    def _start(self, workload: str, decision: Start, standing: Standing, now: float) -> bool:
        """Whether there is a job now; raises Unavailable."""
        asked = Asked(trigger=decision.trigger, who="trigger", why=decision.why)
        try:
            job, new = request_training(self._intake, workload, None, asked)
        except Unusable as error:
            self._refused[workload] = (standing.new_examples, now + REFUSED_PAUSE_SECONDS, str(error))
            log.warning("no training of %s: %s", workload, error)
            return False
        self._refused.pop(workload, None)
        if new:
            TRIGGERS.labels(decision.trigger).inc()
            log.info("training %s of %s is queued: %s", job.id, workload, decision.why)
        return True
