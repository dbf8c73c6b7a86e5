"""The ledger in the database: what decisions of promotion leave there."""

import json
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlmodel import select

from services.promotion import candidacy
from services.promotion.reporting import seal_report
from services.promotion.repository import Registry
from services.promotion.spending import standing
from services.promotion.tables import DecisionRow
from shared.artifacts import path_of
from shared.db import transaction
from tests.services.promotion.stage_set import GROUPS, WORKLOAD, Stage, seal_run


def decisions(stage: Stage) -> list[DecisionRow]:
    with transaction(stage.engine) as session:
        return list(session.exec(select(DecisionRow).order_by(DecisionRow.at)).all())


def ledger(stage: Stage) -> dict[str, Any]:
    gate = stage.fleet.deployment.workloads[WORKLOAD].gate
    with transaction(stage.engine) as session:
        return standing(Registry(session), WORKLOAD, gate)


def report(stage: Stage, version: str) -> dict[str, Any]:
    found = json.loads((path_of(stage.row(version).report_uri or "") / "report.json").read_text())
    assert isinstance(found, dict)
    return found


def reject(stage: Stage, number: int) -> str:
    """A candidate that is no better than the bare base."""
    return stage.bring(seal_run(stage.artifacts, f"equal-{number}"), right=0)


def test_the_sixth_candidate_on_one_holdout_gets_no_verdict_however_good(stage: Stage) -> None:
    for number in range(5):
        assert stage.row(reject(stage, number)).verdict == "REJECT"
    version = stage.bring(seal_run(stage.artifacts, "job-6"), right=GROUPS)
    row = stage.row(version)
    assert (row.verdict, row.stage) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert row.reasons[0].startswith("alpha budget spent: 5 decision(s) on version 1 of the holdout used 0.05 of 0.05")
    assert f"{GROUPS // 4} more new prompt group(s)" in row.reasons[0]
    assert len(decisions(stage)) == 5


def test_after_one_that_forgot_the_next_is_promoted_on_the_same_holdout(stage: Stage) -> None:
    forgot = stage.bring(seal_run(stage.artifacts, "careless"), right=GROUPS, general=20)
    better = stage.bring(seal_run(stage.artifacts, "default"), right=GROUPS)
    assert [stage.row(version).verdict for version in (forgot, better)] == ["REJECT", "PROMOTE"]
    assert [d.spent_before for d in sorted(decisions(stage), key=lambda d: d.spent_before)] == [0.0, 0.01]


def test_a_holdout_that_grew_by_a_quarter_brings_a_new_budget(stage: Stage) -> None:
    for number in range(5):
        reject(stage, number)
    stage.annotation.numbers = range(GROUPS + 9)
    short = stage.bring(seal_run(stage.artifacts, "job-6"), right=GROUPS)
    assert "; 1 more new prompt group(s)" in stage.row(short).reasons[0]
    stage.annotation.numbers = range(GROUPS + 10)
    version = stage.bring(seal_run(stage.artifacts, "job-7"), right=GROUPS)
    assert stage.row(version).verdict == "PROMOTE"
    assert ledger(stage) == {
        "holdout_version": 2,
        "decisions": 1,
        "decisions_left": 4,
        "alpha": 0.01,
        "spent": 0.01,
        "budget": 0.05,
    }


def test_a_holdout_that_shrank_keeps_what_was_spent(stage: Stage) -> None:
    stage.annotation.numbers = range(2 * GROUPS)
    for number in range(5):
        reject(stage, number)
    stage.annotation.numbers = range(GROUPS)
    version = stage.bring(seal_run(stage.artifacts, "job-6"), right=GROUPS)
    assert stage.row(version).reasons[0].startswith("alpha budget spent")


def test_the_time_of_day_has_no_say_in_what_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reject(stage, 0)
    monkeypatch.setattr("services.promotion.spending.utc_now", lambda: "1999-12-31T23:59:59Z")
    monkeypatch.setattr("services.promotion.candidacy.utc_now", lambda: "1999-12-31T23:59:59Z")
    second = reject(stage, 1)
    found = report(stage, second)["ledger"]
    assert (found["spent_before"], found["spent"], found["decisions"]) == (0.01, 0.01, 2)
    assert ledger(stage)["decisions_left"] == 3


def test_one_candidate_heard_of_and_judged_twice_is_one_decision(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.bring(event, right=0)
    stage.hear(event)
    stage.hear(stage.scheduler.evaluate())
    stage.end()
    stage.begin()
    stage.step()
    assert len(decisions(stage)) == 1


def test_a_decision_that_was_cut_down_before_its_commit_is_made_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (0, 198)
    stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate())
    monkeypatch.setattr(candidacy.Candidacy, "_write_verdict", killed)  # after the ledger's rows, before the commit
    with pytest.raises(KilledError):
        stage.step()
    monkeypatch.undo()
    assert decisions(stage) == []
    assert stage.row(event.version).verdict is None
    stage.end()
    stage.begin()
    stage.step()
    assert stage.row(event.version).verdict == "REJECT"
    assert [(d.version, d.spent_before) for d in decisions(stage)] == [(event.version, 0.0)]


def test_a_candidate_that_passed_and_could_not_be_loaded_spent_once(stage: Stage, servers: list[Any]) -> None:
    for server in servers:
        server.stop()
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    for _ in range(stage.settings.load_attempts + 1):
        stage.step()
    assert "could not be loaded" in stage.row(version).reasons[0]
    assert len(decisions(stage)) == 1
    assert report(stage, version)["ledger"]["decisions"] == 1


def test_another_champion_makes_it_another_decision(stage: Stage) -> None:
    first, second = (seal_run(stage.artifacts, f"job-{n}") for n in (1, 2))
    for event in (first, second):
        stage.scheduler.scores[event.version] = (36, 198)
        stage.hear(event)
    stage.step()
    for order in (0, 1):
        stage.hear(stage.scheduler.evaluate(order))
    for _ in range(3):
        stage.step()
    stage.hear(stage.scheduler.evaluate())
    stage.step()
    of_second = [d.champion for d in decisions(stage) if d.version == second.version]
    assert first.version in of_second
    assert stage.row(second.version).verdict == "REJECT"


def test_two_that_are_judged_at_once_never_spend_the_same_alpha(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        reject(stage, number)
    late, quick = (seal_run(stage.artifacts, f"racing-{n}") for n in (1, 2))
    for event in (late, quick):
        stage.scheduler.scores[event.version] = (0, 198)
        stage.hear(event)
    stage.step()
    for order in (-1, -2):
        stage.hear(stage.scheduler.evaluate(order))
    seal, first = seal_report, {"yes": True}

    def overtaken(*arguments: Any) -> Any:
        if first.pop("yes", None):
            work = stage.work(quick.version if arguments[1].row.version == late.version else late.version)
            assert work is not None
            stage.candidacy.advance(work)
        return seal(*arguments)

    monkeypatch.setattr(candidacy, "seal_report", overtaken)
    stage.step()
    stage.step()
    verdicts = sorted((stage.row(event.version).verdict or "") for event in (late, quick))
    assert verdicts == ["INCONCLUSIVE", "REJECT"]
    assert len(decisions(stage)) == 5
    refused = next(e.version for e in (late, quick) if stage.row(e.version).verdict == "INCONCLUSIVE")
    assert report(stage, refused)["ledger"]["spent_before"] == 0.05


def test_holes_in_the_data_spend_nothing(stage: Stage) -> None:
    def hole(_version: str, line: dict[str, Any]) -> None:
        line["score"] = float("nan") if line["item"] == "h003" else line["score"]

    stage.scheduler.spoil = hole
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=40)
    assert stage.row(version).verdict == "INCONCLUSIVE"
    assert decisions(stage) == []
    assert report(stage, version)["ledger"]["spent"] == 0


def test_how_many_decisions_are_left_is_a_metric_and_stands_in_the_report(stage: Stage) -> None:
    version = reject(stage, 0)
    stage.step()
    assert REGISTRY.get_sample_value("ratchet_promotion_decisions_left", {"workload": WORKLOAD}) == 4
    assert report(stage, version)["ledger"] == {
        "holdout_version": 1,
        "spent_before": 0.0,
        "spent": 0.01,
        "budget": 0.05,
        "decisions": 1,
        "groups_needed": GROUPS // 4,
    }
    assert report(stage, version)["policy"]["alpha_budget"] == 0.05
