"""Each check on what is right and on what is broken; the servers themselves are in tests/real/doctor."""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.cli.doctor import (
    bus,
    checks,
    configuration,
    database,
    desk,
    machine,
    monitoring,
    services,
    serving,
)
from services.cli.doctor.findings import Finding, State
from services.cli.doctor.setting_names import NAMES
from services.cli.starter import write_starter
from shared import schema
from shared.db import open_database
from shared.settings import SharedSettings
from tests.readme_tables import settings
from tests.setting_names import REGISTRY, registry

OK, LOOK, WRONG, SKIPPED = State.OK, State.LOOK, State.WRONG, State.SKIPPED


class Answers:
    """An HTTP server on loopback with the answers it was given: path -> (status, body)."""

    def __init__(self, answers: Mapping[str, tuple[int, str]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (404, "{}"))
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answering() -> Iterator[Any]:
    made: list[Answers] = []

    def with_paths(answers: Mapping[str, tuple[int, str]]) -> str:
        made.append(Answers(answers))
        return made[-1].url

    yield with_paths
    for server in made:
        server.close()


@pytest.fixture
def nowhere() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def only(findings: Any) -> Finding:
    (found,) = list(findings)
    return found


def states(findings: Any) -> list[State]:
    return [finding.state for finding in findings]


# ratchet.toml and settings


def test_a_starter_configuration_is_fine(tmp_path: Path) -> None:
    write_starter(tmp_path, force=False)
    found = only(configuration.declared(SharedSettings(config=tmp_path / "ratchet.toml")))
    assert found.state is OK
    assert "support-triage" in found.says


def test_a_bad_ratchet_toml_is_a_configuration_error_with_its_key(tmp_path: Path) -> None:
    (tmp_path / "ratchet.toml").write_text('[models.tiny]\npath = "builtin:tiny"\n[workloads.a]\nbase = "tinny"\n')
    found = only(configuration.declared(SharedSettings(config=tmp_path / "ratchet.toml")))
    assert (found.state, found.configuration) == (WRONG, True)
    assert "tinny" in found.says


def test_a_base_model_without_its_folder_is_named(tmp_path: Path) -> None:
    text = f'[models.big]\npath = "{tmp_path}/weights"\n[workloads.a]\nbase = "big"\n'
    (tmp_path / "ratchet.toml").write_text(text)
    found = only(configuration.declared(SharedSettings(config=tmp_path / "ratchet.toml")))
    assert found.configuration is True
    assert "models.big.path" in found.says


def test_the_meaning_of_the_settings_is_told() -> None:
    assert states(configuration.meaning(SharedSettings())) == [OK]
    both = SharedSettings(bus_url="kafka://k:9092", database_url="postgresql+psycopg://u:p@h/d")
    assert states(configuration.meaning(both)) == [OK]
    assert states(configuration.meaning(SharedSettings(bus_url="kafka://k:9092"))) == [OK, LOOK]
    assert states(configuration.meaning(SharedSettings(bus_url="redis://k:9092"))) == [WRONG]


def test_a_setting_that_some_part_of_the_program_reads_is_left_alone() -> None:
    fine = ("RATCHET_DATABASE_URL", "RATCHET_GATEWAY_SPOOL_MAX_BYTES", "RATCHET_DESK_URL", "RATCHET_STACK_DIR")
    fine += ("RATCHET_SUPERVISOR_PID", "RATCHET_HEALTH_URL", "RATCHET_GATEWAY_BIND", "ratchet_host", "HOME", "RATCHET")
    assert not list(configuration.misspelt(dict.fromkeys(fine, "")))


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("RATCHET_DATABSE_URL", "RATCHET_DATABASE_URL"),
        ("RATCHET_GATEWAY_PLAN_POL_SECONDS", "RATCHET_GATEWAY_PLAN_POLL_SECONDS"),
        ("RATCHET_SCHEDULER_MAX_ATTEMPT", "RATCHET_SCHEDULER_MAX_ATTEMPTS"),
        ("RATCHET_DESK_APIKEY", "RATCHET_DESK_API_KEY"),
        ("RATCHET_MODEL_SERVER_MAXBATCH", "RATCHET_MODEL_SERVER_MAX_BATCH"),
        ("RATCHET_XYZZY", "README"),
    ],
)
def test_a_misspelt_setting_of_any_service_is_told_with_the_right_one(misspelt: str, meant: str) -> None:
    found = only(configuration.misspelt({misspelt: "x"}))
    assert found.state is LOOK
    assert misspelt in found.says
    assert meant in found.do


def test_the_doctor_knows_the_settings_that_the_code_reads() -> None:
    assert REGISTRY.read_text("utf-8") == registry(), "run `python -m tests.setting_names`"
    assert {name.split("`")[1] for name in settings().splitlines()[2:]} <= set(NAMES)


# this machine


@pytest.mark.parametrize(("free", "state"), [(100 << 30, OK), (2 << 30, LOOK), (100 << 20, WRONG)])
def test_the_room_on_the_disk(tmp_path: Path, free: int, state: State) -> None:
    assert machine.room(tmp_path / "not" / "there", free_bytes=lambda _: free).state is state


def test_room_is_that_of_the_disk_the_folder_is_on(tmp_path: Path) -> None:
    asked: list[Path] = []
    machine.room(tmp_path / "not" / "there", free_bytes=lambda path: asked.append(path) or 1 << 40)  # type: ignore[func-returns-value]
    assert asked == [tmp_path.resolve()]


def test_a_data_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert machine.privacy(folder).state is SKIPPED
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    opened = machine.privacy(folder)
    assert opened.state is LOOK
    assert opened.do == f"chmod 700 {folder}"
    folder.chmod(0o700)
    assert machine.privacy(folder).state is OK
    (tmp_path / "file").touch()
    assert machine.privacy(tmp_path / "file").state is WRONG


def test_a_port_that_others_reach_is_named() -> None:
    urls = {"gateway": "http://127.0.0.1:8080", "annotation": "http://127.0.0.1:8082", "far": "http://192.0.2.9:1"}
    assert states(machine.exposed(urls, "127.0.0.1", lambda port: False)) == [OK]
    found = only(machine.exposed(urls, "127.0.0.1", lambda port: port == 8082))
    assert found.state is LOOK
    assert "annotation (8082)" in found.says
    assert "gateway" not in found.says
    assert states(machine.exposed(urls, "0.0.0.0", lambda port: True)) == [LOOK, LOOK]
    assert states(machine.exposed({"far": "http://192.0.2.9:1"}, "127.0.0.1", lambda port: True)) == [SKIPPED]


def test_a_port_on_loopback_is_not_reached_from_elsewhere_and_one_on_all_addresses_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        assert machine.reached_from_elsewhere(closed.getsockname()[1]) is False
    with socket.create_server(("0.0.0.0", 0)) as opened:
        assert machine.reached_from_elsewhere(opened.getsockname()[1]) is bool(machine.own_addresses())


# database


def test_a_database_that_is_not_there_yet_is_skipped(tmp_path: Path) -> None:
    assert states(database.database(f"sqlite:///{tmp_path}/ratchet.db")) == [SKIPPED]


def test_a_database_before_and_after_its_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ratchet.db"
    engine = open_database(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table other (x)")
    there, behind = database.database(url)
    assert (there.state, behind.state) == (OK, WRONG)
    assert behind.do == "ratchet migrate"
    schema.migrate(engine)
    engine.dispose()
    assert states(database.database(url)) == [OK, OK]


def test_a_newer_database_is_not_called_behind() -> None:
    (found,) = database.migrations([schema.Standing("annotation", "9999", "0001", (), known=False)])
    assert found.state is WRONG
    assert "newer Ratchet" in found.says


def test_a_postgres_that_is_away_and_urls_that_are_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = only(database.database(f"postgresql+psycopg://u:hidden@127.0.0.1:{port}/d"))
    assert (found.state, found.configuration) == (WRONG, False)
    assert "hidden" not in found.says
    for bad in ("nonsense", "oracle+unheardof://x/y"):
        refused = only(database.database(bad))
        assert (refused.state, refused.configuration) == (WRONG, True)


def test_versions_and_clocks() -> None:
    assert database.of_version("15.20 (Debian 15.20-0)", "here").state is OK
    assert database.of_version("12.3", "here").state is LOOK
    assert database.of_clock("its clock", 100.0, 99.0, 101.0).state is OK
    assert database.of_clock("its clock", 90.0, 100.0, 101.0).state is WRONG
    assert "ahead" in database.of_clock("its clock", 200.0, 100.0, 101.0).says
    assert database.of_clock("its clock", 103.0, 100.0, 101.0).state is OK


# bus


def test_an_embedded_bus_is_there_or_not_yet(tmp_path: Path) -> None:
    assert states(bus.bus(f"sqlite://{tmp_path}/bus.db")) == [SKIPPED]
    (tmp_path / "bus.db").touch()
    assert states(bus.bus(f"sqlite://{tmp_path}/bus.db")) == [OK]


def test_topics_that_are_missing_or_different() -> None:
    assert states(bus.of_topics([], [])) == [OK]
    assert states(bus.of_topics(["ratchet.answers"], ["topic x has 1 partitions, not 6"])) == [WRONG, LOOK]


# services


def test_a_service_that_is_ready_waiting_away_or_another(answering: Any, nowhere: str) -> None:
    ready = answering({"/readyz": (200, '{"objections": []}')})
    assert states(services.service("gateway", ready)) == [OK]
    waiting = answering({"/readyz": (503, '{"objections": ["the consumer does not run"]}')})
    found = only(services.service("annotation", waiting))
    assert found.state is WRONG
    assert "the consumer does not run" in found.says
    assert only(services.service("scheduler", nowhere)).state is WRONG
    foreign = answering({"/readyz": (421, "{}")})
    assert only(services.service("promotion", foreign)).configuration is True
    assert only(services.service("promotion", answering({}))).state is WRONG


@pytest.mark.parametrize(("events", "state"), [("3.0", OK), ("90000.0", LOOK)])
def test_a_consumer_that_is_behind(answering: Any, events: str, state: State) -> None:
    url = answering({"/metrics": (200, f'ratchet_consumer_lag_events{{consumer="annotation"}} {events}\n')})
    assert only(services.lag("annotation", url)).state is state


def test_dead_letters_are_counted(answering: Any, nowhere: str) -> None:
    url = answering({"/metrics": (200, 'ratchet_consumer_dead_letters_total{consumer="annotation"} 3.0\n')})
    assert only(services.dead_letters(url, "annotation")).state is LOOK
    assert not list(services.dead_letters(answering({"/metrics": (200, "")}), "annotation"))
    assert not list(services.dead_letters(nowhere, "annotation"))


@pytest.mark.parametrize(("size", "state"), [(0, OK), (300, LOOK), (900, WRONG)])
def test_how_full_the_spool_is(answering: Any, size: int, state: State) -> None:
    body = f'{{"spool_records": 1, "spool_bytes": {size}, "spool_max_bytes": 1000, "plan_version": 3}}'
    assert only(services.spool(answering({"/v1/status": (200, body)}))).state is state


def test_a_gateway_without_a_plan_is_wrong(answering: Any, nowhere: str) -> None:
    body = '{"spool_records": 0, "spool_bytes": 0, "spool_max_bytes": 1000, "plan_version": 0}'
    assert states(services.spool(answering({"/v1/status": (200, body)}))) == [OK, WRONG]
    assert not list(services.spool(nowhere)), "that it is away is said of the gateway"


# model servers


def test_a_model_server_with_its_base_and_adapters(answering: Any) -> None:
    url = answering({"/v1/models": (200, '{"data": [{"id": "tiny"}]}'), "/v1/load_lora_adapter": (400, "{}")})
    assert states(serving.replica("tiny", url)) == [OK, OK]


def test_a_model_server_with_another_base_without_adapters_or_away(answering: Any, nowhere: str) -> None:
    other = answering({"/v1/models": (200, '{"data": [{"id": "other"}]}')})
    found = list(serving.replica("tiny", other))
    assert states(found) == [WRONG, WRONG]
    assert "--served-model-name tiny" in found[0].do
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in found[1].do
    assert only(serving.replica("tiny", nowhere)).state is WRONG


def test_a_base_that_no_upstream_serves_is_named(tmp_path: Path) -> None:
    write_starter(tmp_path, force=False)
    settings = SharedSettings(config=tmp_path / "ratchet.toml", upstream_urls="other=http://h:1")
    assert only(serving.upstreams(settings, settings.deployment(), "")).configuration is True


# desk

SPACES = [{"name": "ratchet", "id": "w1"}]
DATASET = {"name": "triage.v1-abc", "workspace_id": "w1", "status": "ready"}


def test_the_own_page_needs_nothing_and_another_scheme_is_refused() -> None:
    assert only(desk.desk("", "", "ratchet", ["triage"])).state is OK
    assert only(desk.desk("http://h:1", "", "ratchet", ["triage"])).configuration is True


def test_argilla_that_is_set_up(answering: Any) -> None:
    url = answering(
        {
            "/api/v1/status": (200, '{"version": "2.8.0", "search_engine": {"version": {}}}'),
            "/api/v1/me": (200, '{"username": "owner", "role": "owner"}'),
            "/api/v1/me/workspaces": (200, '{"items": [{"name": "ratchet", "id": "w1"}]}'),
            "/api/v1/me/datasets": (
                200,
                '{"items": [{"name": "triage.v1-abc", "workspace_id": "w1", "status": "ready"}]}',
            ),
        }
    )
    assert states(desk.desk(f"argilla+{url}", "key", "ratchet", ["triage"])) == [OK, OK]


def test_argilla_that_refuses_the_key_or_is_away(answering: Any, nowhere: str) -> None:
    status = (200, '{"version": "2.8.0", "search_engine": {"version": {}}}')
    refusing = answering({"/api/v1/status": status, "/api/v1/me": (401, "{}")})
    found = list(desk.desk(f"argilla+{refusing}", "key", "ratchet", ["triage"]))
    assert states(found) == [OK, WRONG]
    assert found[1].configuration is True
    away = only(desk.desk(f"argilla+{nowhere}", "key", "ratchet", ["triage"]))
    assert (away.state, away.configuration) == (WRONG, False)


def test_what_argilla_may_lack() -> None:
    assert desk.of_status("here", {"version": "2.8.0", "search_engine": None}).state is WRONG
    assert desk.of_account(200, {"role": "owner"}) is None
    assert desk.of_account(200, {"role": "annotator", "username": "ann"}).state is WRONG  # type: ignore[union-attr]
    assert desk.of_account(500, None).state is WRONG  # type: ignore[union-attr]
    assert desk.of_setup("ratchet", SPACES, [DATASET], ["triage"]).state is OK
    for spaces, datasets in (
        ([], [DATASET]),
        (SPACES, []),
        (SPACES, [DATASET | {"status": "draft"}]),
        (SPACES, [DATASET | {"workspace_id": "other"}]),
        (SPACES, [DATASET | {"name": "triage-2.v1-abc"}]),
    ):
        found = desk.of_setup("ratchet", spaces, datasets, ["triage"])
        assert (found.state, found.do) == (WRONG, "ratchet desk setup")


# monitoring


def test_monitoring_that_nobody_named_is_skipped_and_one_that_is_away_is_wrong(nowhere: str) -> None:
    assert only(monitoring.prometheus("", [])).state is SKIPPED
    assert only(monitoring.alertmanager("")).state is SKIPPED
    assert only(monitoring.prometheus(nowhere, [])).state is WRONG
    assert only(monitoring.alertmanager(nowhere)).state is WRONG


def test_what_prometheus_may_lack() -> None:
    up = {"labels": {"job": "gateway"}, "health": "up", "scrapeUrl": "http://g"}
    assert states(monitoring.of_targets([up], ["gateway"])) == [OK]
    assert states(monitoring.of_targets([], ["gateway"])) == [WRONG]
    down = up | {"health": "down", "lastError": "connection refused"}
    found = only(monitoring.of_targets([down], ["gateway"]))
    assert "connection refused" in found.says
    assert monitoring.of_rules([]).state is WRONG
    assert monitoring.of_rules([{"rules": [{"name": "A", "health": "ok"}]}]).state is OK
    assert monitoring.of_rules([{"rules": [{"name": "A", "health": "err"}]}]).state is WRONG


def test_a_firing_alert_is_shown_with_its_runbook() -> None:
    alert = {"state": "firing", "labels": {"alertname": "Drift"}, "annotations": {"summary": "s", "runbook_url": "r"}}
    found = only(monitoring.of_alerts([alert, alert | {"state": "pending"}]))
    assert (found.state, found.do) == (LOOK, "r")


def test_an_alertmanager_that_cannot_reach_the_scheduler_is_wrong() -> None:
    assert monitoring.of_receivers("receivers: [{url: http://scheduler:8083/v1/alerts}]").state is OK
    assert monitoring.of_receivers("receivers: []").state is WRONG


# all of them


def test_every_check_says_something_of_a_deployment_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_starter(tmp_path, force=False)
    for name in [name for name in os.environ if name.startswith("RATCHET_")]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("RATCHET_CONFIG", str(tmp_path / "ratchet.toml"))
    monkeypatch.setenv("RATCHET_DATA_DIR", str(tmp_path / "data"))
    for name in ("GATEWAY", "ANNOTATION", "SCHEDULER", "PROMOTION", "MODEL_SERVER"):
        monkeypatch.setenv(f"RATCHET_{name}_PORT", str(port))
    found = {finding.check: finding.state for finding in checks.examine()}
    assert found["ratchet.toml"] is OK
    assert found["gateway"] is WRONG
    assert found["model servers"] is WRONG
    assert found["desk"] is OK


def test_a_setting_that_cannot_be_read_is_the_only_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_GATEWAY_PORT", "eighty")
    (found,) = checks.examine()
    assert (found.state, found.configuration) == (WRONG, True)
    assert "RATCHET_GATEWAY_PORT" in found.says
