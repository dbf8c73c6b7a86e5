"""Who serves: a version is loaded on every reachable replica, then it becomes champion and the plan names it.

The gate, a person's promotion and a rollback all come through here, so no plan names what no server holds.
Twice: a champion stays champion. Fails: Unusable when the edge is not allowed, the adapter is damaged or a replica
refuses it; Unavailable when no model server can be reached (a rollback does not wait for that).
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session

from services.promotion import metrics
from services.promotion.fleet import Fleet
from services.promotion.reconcile import Reconciler
from services.promotion.repository import Registry
from services.promotion.stages import Stage, objection
from services.promotion.tables import ModelRow
from services.promotion.transitions import crown, seat_bare_bases
from shared.db import reading, transaction
from shared.errors import Unusable
from shared.outbox import Outbox

SERVICE = "promotion"


class UnknownVersion(Unusable):
    """No such version or workload here; HTTP 404."""


@dataclass(frozen=True, slots=True)
class Stewardship:
    """What every change of what serves needs."""

    engine: Engine
    fleet: Fleet
    reconciler: Reconciler
    committed: Callable[[], None] = lambda: None  # after a commit: events wait in the outbox

    def start(self) -> None:
        """Seats the bare bases and writes the plan; harmless at every start."""
        with transaction(self.engine) as session:
            seat_bare_bases(Registry(session), Outbox(session, SERVICE), self.fleet)
        self._after_commit()

    def promote_by_hand(self, version: str, *, who: str, why: str, override: bool) -> None:
        row = self._model(version)
        if row.stage == Stage.CHAMPION:
            return
        if row.stage in (Stage.CANDIDATE, Stage.EVALUATING):
            raise Unusable(f"{version} is {row.stage}: the gate has not spoken yet; wait for its verdict")
        refusal = objection(Stage(row.stage), Stage.CHAMPION, override=override)
        if refusal is not None:
            raise Unusable(f"{version}: {refusal}")
        if override and not why.strip():
            raise Unusable("an override needs a why: it stands in the audit log for ever")
        said = f"override of {row.verdict or row.stage}: {why}" if row.stage != Stage.RETIRED else why
        self.enthrone(row, who=who, why=said, override=override)

    def roll_back(self, workload: str, *, who: str, why: str, leaving: str | None, to: str | None) -> None:
        """Back to the version before the champion, or to a named one, at once.

        leaving: the version to get away from; when it serves no more there is nothing to do. It makes a repeated
        request harmless, which would go back one step further otherwise.
        """
        if not self.fleet.knows(workload):
            raise UnknownVersion(f"there is no workload {workload!r} in ratchet.toml")
        with reading(self.engine) as session:
            champion = Registry(session).champion(workload)
        if champion is None or champion.version == to or (leaving is not None and champion.version != leaving):
            return
        target = to or champion.predecessor
        if target is None:
            raise Unusable(f"nothing served {workload} before {champion.version}; there is nothing to go back to")
        row = self._model(target)
        if row.workload != workload:
            raise Unusable(f"{target} belongs to {row.workload}, not to {workload}")
        if row.stage != Stage.RETIRED:
            raise Unusable(f"{target} is {row.stage}: only a version that has served can be gone back to")
        self.enthrone(row, who=who, why=f"rollback: {why}", expected=champion.version, rollback=True)

    def enthrone(
        self,
        row: ModelRow,
        *,
        who: str,
        why: str,
        expected: str | None = None,
        override: bool = False,
        rollback: bool = False,
        then: Callable[[Session], None] = lambda session: None,
        report_sha256: str | None = None,
    ) -> None:
        """Loads everywhere, then changes the champion; `then` is part of the same transaction."""
        with self.reconciler.held(row.version):
            self.reconciler.load_everywhere(row, must_reach_one=not rollback)
            with transaction(self.engine) as session:
                registry = Registry(session)
                registry.lock()
                fresh = registry.model(row.version)
                assert fresh is not None  # versions are never deleted
                if fresh.stage != Stage.CHAMPION:
                    crown(
                        registry,
                        Outbox(session, SERVICE),
                        self.fleet,
                        fresh,
                        who=who,
                        why=why,
                        expected=expected,
                        override=override,
                        rollback=rollback,
                        report_sha256=report_sha256,
                    )
                then(session)
        self._after_commit()

    def _model(self, version: str) -> ModelRow:
        with reading(self.engine) as session:
            row = Registry(session).model(version)
        if row is None:
            raise UnknownVersion(f"there is no version {version!r}; GET /v1/models lists them")
        return row

    def _after_commit(self) -> None:
        with reading(self.engine) as session:
            registry = Registry(session)
            plan = registry.plan()
            metrics.show_champions((row.workload, row.version) for row in registry.champions())
        metrics.PLAN_VERSION.set(plan.plan_version if plan else 0)
        self.committed()
