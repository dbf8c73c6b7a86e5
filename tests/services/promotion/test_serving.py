import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from services.promotion import stages
from services.promotion.audit import verify_chain
from services.promotion.fleet import Fleet
from services.promotion.reconcile import Reconciler
from services.promotion.repository import Registry
from services.promotion.serving import Stewardship, UnknownVersion
from services.promotion.tables import ModelRow
from services.promotion.transitions import ChampionChanged
from shared.artifacts import path_of
from shared.db import open_database, transaction
from shared.errors import Unavailable, Unusable
from shared.events import utc_now
from tests.databases import of_folder
from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import WORKLOAD, Stage, seal_run


def roll_back(stage: Stage, leaving: str | None = None, to: str | None = None) -> None:
    stage.stewardship.roll_back(WORKLOAD, who="mara", why="too curt", leaving=leaving, to=to)


def test_a_rollback_returns_to_the_version_before_and_loads_nothing(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    first = stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    second = stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    calls = [list(server.calls) for server in servers]
    roll_back(stage)
    assert stage.plan()[1] == first
    assert stage.row(second).stage == "RETIRED"
    assert [server.calls for server in servers] == calls
    last = stage.chain()[-1][0]
    assert (last.version, last.who, last.why) == (first, "mara", "rollback: too curt")


def test_a_rollback_goes_further_back_each_time_and_never_to_what_was_left(stage: Stage) -> None:
    base = stage.champion()
    first = stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    roll_back(stage)
    assert stage.champion() == first
    roll_back(stage)
    assert stage.champion() == base
    with pytest.raises(Unusable, match="nothing to go back to"):
        roll_back(stage)


def test_a_repeated_rollback_that_names_what_it_leaves_is_harmless(stage: Stage) -> None:
    first = stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    second = stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    roll_back(stage, leaving=second)
    roll_back(stage, leaving=second)
    assert stage.champion() == first


def test_a_rollback_may_name_its_goal(stage: Stage) -> None:
    base = stage.champion()
    stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    second = stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    roll_back(stage, to=base)
    assert stage.champion() == base
    roll_back(stage, to=second)
    assert stage.champion() == second


def test_a_rollback_to_what_never_served_is_refused(stage: Stage) -> None:
    rejected = stage.bring(seal_run(stage.artifacts, "job-1"), right=0)
    with pytest.raises(Unusable, match="only a version that has served"):
        roll_back(stage, to=rejected)
    with pytest.raises(UnknownVersion):
        roll_back(stage, to="triage@0000000000000000")


def test_a_rollback_does_not_wait_for_model_servers_that_are_away(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    first = stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    for server in servers:
        server.broken["/v1/models"] = 500
    roll_back(stage)
    assert stage.plan()[1] == first


def test_a_rollback_to_a_damaged_adapter_is_refused(stage: Stage) -> None:
    first = stage.bring(seal_run(stage.artifacts, "job-1"), right=12)
    second = stage.bring(seal_run(stage.artifacts, "job-2"), right=36)
    (path_of(stage.row(first).run_uri or "") / "adapter" / "adapter_model.safetensors").write_text("scribble")
    with pytest.raises(Unusable, match="not the file the manifest describes"):
        roll_back(stage)
    assert stage.champion() == second


def test_a_rejected_version_serves_only_by_an_override_with_a_why(stage: Stage) -> None:
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=0)
    promote = stage.stewardship.promote_by_hand
    with pytest.raises(Unusable, match="needs override and a why"):
        promote(version, who="mara", why="I like it", override=False)
    with pytest.raises(Unusable, match="needs a why"):
        promote(version, who="mara", why=" ", override=True)
    assert stage.champion() != version
    promote(version, who="mara", why="the holdout is outdated", override=True)
    assert stage.plan()[1] == version
    edge = stage.chain()[-1][0]
    assert (edge.who, edge.why) == ("mara", "override of REJECT: the holdout is outdated")
    promote(version, who="mara", why="twice", override=True)
    assert len([e for e, _, _ in stage.chain() if e.after == "CHAMPION"]) == 2


def test_no_override_reaches_past_the_gate_while_it_measures(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.hear(event)
    with pytest.raises(Unusable, match="wait for its verdict"):
        stage.stewardship.promote_by_hand(event.version, who="mara", why="now", override=True)


def test_an_override_without_a_reachable_model_server_changes_nothing(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=0)
    for server in servers:
        server.broken["/v1/models"] = 500
    with pytest.raises(Unavailable):
        stage.stewardship.promote_by_hand(version, who="mara", why="please", override=True)
    assert stage.plan()[0] == 1


def test_the_database_itself_refuses_a_second_champion(stage: Stage) -> None:
    with pytest.raises(IntegrityError), transaction(stage.engine) as session:
        session.add(
            ModelRow(
                version="triage@1111111111111111",
                workload=WORKLOAD,
                stage=stages.Stage.CHAMPION,
                base="tiny",
                created_at=utc_now(),
            )
        )


def test_promoters_that_race_leave_exactly_one_champion_at_all_times(stage: Stage, tmp_path: Path) -> None:
    """Each racer has its own engine, as another process would; an observer looks on all the while."""
    base = stage.champion()
    versions = [stage.bring(seal_run(stage.artifacts, f"job-{n}"), right=0) for n in range(3)]
    finished, seen, failures = threading.Event(), set[int](), list[BaseException]()

    def race(version: str, rounds: int) -> None:
        engine = open_database(of_folder(stage.folder), "promotion")
        reconciler = Reconciler(engine, stage.fleet, stage.settings)
        stewardship = Stewardship(engine, stage.fleet, reconciler)
        try:
            for _ in range(rounds):
                stewardship.promote_by_hand(version, who=version, why="race", override=True)
        except BaseException as error:
            failures.append(error)
        finally:
            reconciler.close()
            engine.dispose()

    def observe() -> None:
        engine = open_database(of_folder(stage.folder), "promotion")
        while not finished.is_set():
            with transaction(engine) as session:
                query = select(ModelRow).where(ModelRow.stage == stages.Stage.CHAMPION, ModelRow.workload == WORKLOAD)
                seen.add(len(session.exec(query).all()))
        engine.dispose()

    observer = threading.Thread(target=observe)
    racers = [threading.Thread(target=race, args=(version, 6)) for version in versions]
    for thread in (observer, *racers):
        thread.start()
    for racer in racers:
        racer.join(60)
    finished.set()
    observer.join(10)
    assert failures == []
    assert seen == {1}
    assert verify_chain(stage.chain()) is None
    assert stage.champion() in versions
    assert stage.row(base).stage == "RETIRED"
    assert stage.plan()[1] == stage.champion()


def test_two_gates_that_promote_against_one_champion_cannot_both_win(stage: Stage) -> None:
    base = stage.champion()
    first, second = (stage.bring(seal_run(stage.artifacts, f"job-{n}"), right=0) for n in range(2))
    stage.stewardship.enthrone(stage.row(first), who="a", why="first", expected=base, override=True)
    with pytest.raises(ChampionChanged):
        stage.stewardship.enthrone(stage.row(second), who="b", why="second", expected=base, override=True)
    assert stage.champion() == first
    assert stage.row(second).stage == "REJECTED"


def test_another_base_path_seats_another_bare_base_under_the_same_served_name(stage: Stage) -> None:
    before = stage.champion()
    models = {"tiny": stage.fleet.deployment.models["tiny"].model_copy(update={"path": "builtin:other"})}
    fleet = Fleet(stage.fleet.deployment.model_copy(update={"models": models}), stage.fleet.upstreams_of)
    replace(stage.stewardship, fleet=fleet).start()
    assert stage.champion() == fleet.bare_base(WORKLOAD) != before
    with transaction(stage.engine) as session:
        plan = Registry(session).plan()
    assert plan is not None
    assert plan.workloads[WORKLOAD]["routes"][0]["model"] == "tiny"


def test_new_upstreams_make_a_new_plan(stage: Stage) -> None:
    number = stage.plan()[0]
    stage.upstreams.append("http://127.0.0.1:9")
    stage.stewardship.start()
    assert stage.plan()[0] == number + 1
