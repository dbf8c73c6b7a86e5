import logging
from pathlib import Path

import pytest

from services.promotion.fleet import Fleet
from services.promotion.reconcile import Reconciler
from shared.artifacts import path_of
from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import WORKLOAD, Stage, seal_run

Servers = list[ModelServerDouble]


@pytest.fixture
def served(stage: Stage) -> str:
    """A champion with an adapter."""
    return stage.bring(seal_run(stage.artifacts, "job-1"), right=36)


def test_a_restarted_replica_gets_its_adapters_back(stage: Stage, servers: Servers, served: str) -> None:
    servers[0].restart()
    stage.reconciler.look()
    assert set(servers[0].adapters) == {served}
    assert stage.reconciler.status()[0].adapters == (served,)


def test_a_look_at_what_is_right_changes_nothing(stage: Stage, servers: Servers, served: str) -> None:
    calls = [list(server.calls) for server in servers]
    stage.reconciler.look()
    assert [server.calls for server in servers] == calls


def test_an_unreachable_replica_is_noted_and_blocks_no_other(stage: Stage, servers: Servers, served: str) -> None:
    stage.upstreams.append("http://127.0.0.1:9")
    servers[0].restart()
    stage.reconciler.look()
    by_url = {status.url: status for status in stage.reconciler.status()}
    assert not by_url["http://127.0.0.1:9"].reachable
    assert "cannot be reached" in by_url["http://127.0.0.1:9"].errors[0]
    assert set(servers[0].adapters) == {served}


def test_a_replica_away_is_a_warning_only_when_it_can_no_longer_be_starting(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    stage.upstreams[:] = ["http://127.0.0.1:9"]
    reconciler = Reconciler(stage.engine, stage.fleet, stage.settings, clock=lambda: now[0])
    caplog.set_level(logging.INFO, "services.promotion.reconcile")
    for now[0] in (0.0, 1.0, 121.0, 122.0):
        reconciler.look()
        assert not reconciler.status()[0].reachable
    reconciler.close()
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]


def test_a_damaged_adapter_is_an_error_in_the_status_and_is_not_loaded(
    stage: Stage, servers: Servers, served: str
) -> None:
    run = path_of(stage.row(served).run_uri or "")
    (run / "adapter" / "adapter_model.safetensors").write_text("scribble")
    servers[0].restart()
    stage.reconciler.look()
    status = {s.url: s for s in stage.reconciler.status()}[servers[0].url]
    assert status.reachable
    assert "not the file the manifest describes" in status.errors[0]
    assert servers[0].adapters == {}
    assert [call for call, _ in servers[0].calls] == ["load_lora_adapter"]


def test_another_adapter_under_the_same_name_is_not_loaded(stage: Stage, servers: Servers, served: str) -> None:
    """A run folder replaced as a whole verifies by itself; its hash is not the one that was registered."""
    other = path_of(seal_run(stage.artifacts, "job-2").run_uri)
    run = path_of(stage.row(served).run_uri or "")
    run.rename(run.with_name("aside"))
    other.rename(run)
    servers[0].restart()
    stage.reconciler.look()
    assert servers[0].adapters == {}


def test_a_replica_of_another_base_is_noted_and_gets_nothing(stage: Stage, servers: Servers, served: str) -> None:
    servers[0].restart()
    servers[0].base = "another"
    stage.reconciler.look()
    status = {s.url: s for s in stage.reconciler.status()}[servers[0].url]
    assert "does not serve 'tiny'" in status.errors[0]
    assert servers[0].adapters == {}


def test_an_adapter_of_another_base_is_sent_to_nobody(stage: Stage, servers: Servers, served: str) -> None:
    workload = stage.fleet.deployment.workloads[WORKLOAD].model_copy(update={"base": "another"})
    deployment = stage.fleet.deployment.model_copy(update={"workloads": {WORKLOAD: workload}})
    for server in servers:
        server.restart()
        server.base = "another"
    reconciler = Reconciler(stage.engine, Fleet(deployment, stage.fleet.upstreams_of), stage.settings)
    reconciler.look()
    (error,) = reconciler.status()[0].errors
    assert "trained on 'tiny'" in error
    assert "served by 'another'" in error
    assert servers[0].adapters == {}
    reconciler.close()


def test_a_replica_that_answers_nonsense_is_not_reachable(stage: Stage, servers: Servers, served: str) -> None:
    servers[0].broken["/v1/models"] = 503
    stage.reconciler.look()
    assert [s.reachable for s in stage.reconciler.status() if s.url == servers[0].url] == [False]


def test_the_version_before_the_champion_stays_loaded_and_older_ones_go_after_a_while(
    stage: Stage, servers: Servers
) -> None:
    versions = [stage.bring(seal_run(stage.artifacts, f"job-{n}"), right=right) for n, right in enumerate((12, 26, 40))]
    assert stage.champion() == versions[2]
    stage.reconciler.look()
    assert set(servers[0].adapters) == set(versions)
    stage.now += stage.settings.unload_after_seconds - 1
    stage.reconciler.look()
    assert set(servers[0].adapters) == set(versions)
    stage.now += 1
    stage.reconciler.look()
    assert set(servers[0].adapters) == set(versions[1:])


def test_an_adapter_that_is_not_ours_is_left_alone(stage: Stage, servers: Servers, served: str) -> None:
    servers[0].adapters["somebody-elses"] = "/elsewhere"
    stage.reconciler.look()
    stage.now += 10 * stage.settings.unload_after_seconds
    stage.reconciler.look()
    assert "somebody-elses" in servers[0].adapters


def test_a_version_about_to_serve_is_not_unloaded(stage: Stage, servers: Servers) -> None:
    versions = [stage.bring(seal_run(stage.artifacts, f"job-{n}"), right=right) for n, right in enumerate((12, 26, 40))]
    stage.reconciler.look()
    stage.now += 10 * stage.settings.unload_after_seconds
    with stage.reconciler.held(versions[0]):
        stage.reconciler.look()
    assert versions[0] in servers[0].adapters
    stage.reconciler.look()
    assert versions[0] not in servers[0].adapters


def test_an_adapter_loaded_by_another_promoter_meanwhile_is_a_success(
    stage: Stage, servers: Servers, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list said it was missing; the load answers 400 "already loaded"; the list now shows it."""
    row = stage.row(served)
    before = servers[0].get
    answers = iter([(200, {"data": [{"id": "tiny", "parent": None}]})])
    monkeypatch.setattr(servers[0], "get", lambda path: next(answers, None) or before(path))
    stage.reconciler.load_everywhere(row)
    assert servers[0].calls[-1] == ("load_lora_adapter", served)


def test_replicas_named_for_another_model_are_not_asked(tmp_path: Path, stage: Stage, servers: Servers) -> None:
    stage.upstreams.clear()
    reconciler = Reconciler(stage.engine, stage.fleet, stage.settings)
    reconciler.look()
    assert reconciler.status() == []
    assert list(stage.fleet.replicas_of(WORKLOAD)) == []
    reconciler.close()
