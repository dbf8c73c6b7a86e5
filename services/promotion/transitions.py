"""How a stage changes: the edge checked, the audit row, the event and the plan, all in the caller's transaction.

Emits: StageChanged for each edge, PlanChanged when the plan's content changed.
Twice: taking an edge again is refused (Unusable); publishing an unchanged plan changes nothing.
Fails: ChampionChanged when another version became champion since the candidate was measured.
"""

from services.promotion.audit import Edge
from services.promotion.fleet import Fleet
from services.promotion.plan import canonical, plan_of
from services.promotion.repository import Registry
from services.promotion.stages import Stage, objection
from services.promotion.tables import ModelRow
from shared.errors import Unusable
from shared.events import PlanChanged, StageChanged, utc_now
from shared.outbox import Outbox

RATCHET = "ratchet"  # who, where no person decided


class ChampionChanged(Exception):
    """The candidate was measured against a version that does not serve any more: measure it again."""


def move(
    registry: Registry,
    outbox: Outbox,
    row: ModelRow,
    after: Stage,
    *,
    who: str,
    why: str,
    override: bool = False,
    report_sha256: str | None = None,
) -> None:
    """Takes one edge; Unusable when the table of stages does not allow it."""
    registry.lock()
    before = Stage(row.stage)
    if (refusal := objection(before, after, override=override)) is not None:
        raise Unusable(f"{row.version}: {refusal}")
    row.stage = after
    registry.flush()
    registry.append_edge(Edge(utc_now(), row.workload, row.version, before, after, who, why, report_sha256))
    outbox.add(
        StageChanged(workload=row.workload, version=row.version, before=before, after=after, who=who, why=why),
    )


def crown(
    registry: Registry,
    outbox: Outbox,
    fleet: Fleet,
    row: ModelRow,
    *,
    who: str,
    why: str,
    expected: str | None = None,
    override: bool = False,
    rollback: bool = False,
    report_sha256: str | None = None,
) -> None:
    """`row` becomes the champion, the one before retires, the plan follows.

    expected: the champion it was measured against. rollback: the chain of predecessors is walked back, not extended.
    """
    registry.lock()
    former = registry.champion(row.workload)
    if expected is not None and (former is None or former.version != expected):
        raise ChampionChanged
    if former is not None:
        move(registry, outbox, former, Stage.RETIRED, who=who, why=f"{row.version} takes over: {why}")
    if not rollback:
        row.predecessor = former.version if former else None
    move(registry, outbox, row, Stage.CHAMPION, who=who, why=why, override=override, report_sha256=report_sha256)
    publish_plan(registry, outbox, fleet)


def publish_plan(registry: Registry, outbox: Outbox, fleet: Fleet) -> None:
    """Writes the plan of the champions as they are now; its number grows only when its content changed."""
    stored = registry.lock()
    champions = {row.workload: fleet.serving(row) for row in registry.champions() if fleet.knows(row.workload)}
    workloads = plan_of(champions)
    if stored.plan_version and canonical(workloads) == canonical(stored.workloads):
        return
    stored.plan_version += 1
    stored.workloads = workloads
    registry.flush()
    outbox.add(PlanChanged(plan_version=stored.plan_version))


def seat_bare_bases(registry: Registry, outbox: Outbox, fleet: Fleet) -> None:
    """At every start: a workload without a champion is served by its bare base; then the plan is written.

    A bare base whose `path` changed in ratchet.toml is another version under the same served name and takes over.
    A champion with an adapter stays.
    """
    registry.lock()
    for workload in sorted(fleet.deployment.workloads):
        champion = registry.champion(workload)
        version = fleet.bare_base(workload)
        if champion is not None and (champion.run_uri is not None or champion.version == version):
            continue
        registry.add_model(
            ModelRow(version=version, workload=workload, base=fleet.base_of(workload), created_at=utc_now())
        )
        row = registry.model(version)
        assert row is not None
        crown(registry, outbox, fleet, row, who=RATCHET, why="the bare base model of this workload")
    publish_plan(registry, outbox, fleet)
