"""`ratchet doctor` against real servers: as they should be, and one after the other stopped."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from infra.native import postgres
from services.cli.doctor import bus, database, desk, monitoring
from services.cli.doctor.findings import State
from services.cli.starter import write_starter
from shared import schema
from shared.bus import open_bus
from shared.db import open_database
from shared.processes import free_ports
from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.slow]

OURS = ("GATEWAY", "ANNOTATION", "SCHEDULER", "PROMOTION", "MODEL_SERVER")


class Patient:
    """A deployment on the shared servers with a database and topics of its own; none of our services runs."""

    def __init__(self, servers: RunningStack, folder: Path) -> None:
        servers.need("kafka", "postgres", "prometheus", "alertmanager")
        self.servers, self.name = servers, f"doctor{uuid.uuid4().hex[:8]}"
        postgres.query(servers.place, "ratchet", f"create database {self.name}")
        write_starter(folder, force=False)
        given = servers.addresses()
        self.bus = f"{given['RATCHET_BUS_URL']}?prefix={self.name}."
        self.database = given["RATCHET_DATABASE_URL"].rsplit("/", 1)[0] + f"/{self.name}"
        ports = {f"RATCHET_{n}_PORT": str(p) for n, p in zip(OURS, free_ports(len(OURS)), strict=True)}
        data = {"RATCHET_CONFIG": str(folder / "ratchet.toml"), "RATCHET_DATA_DIR": str(folder / "data")}
        own = {"RATCHET_BUS_URL": self.bus, "RATCHET_DATABASE_URL": self.database, "RATCHET_DESK_URL": ""}
        self.environment = {**os.environ, **given, **ports, **data, **own}

    def examined(self) -> tuple[int, dict[str, list[dict[str, Any]]], str]:
        """Exit status, findings by check, everything that was printed."""
        line = [sys.executable, "-m", "services.cli", "doctor", "--json"]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(done.stdout)["findings"]:
            found.setdefault(finding["check"], []).append(finding)
        return done.returncode, found, done.stdout + done.stderr

    def set_up(self) -> None:
        engine = open_database(self.database)
        schema.migrate(engine)
        engine.dispose()
        made = open_bus(self.bus)
        made.ensure_topics()
        made.close()

    @contextmanager
    def stalled(self, server: str) -> Iterator[None]:
        """It accepts connections and answers nothing."""
        pid = self.servers.server(server).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
            self.servers.need(server)


@pytest.fixture
def patient(servers: RunningStack, tmp_path: Path) -> Iterator[Patient]:
    made = Patient(servers, tmp_path)
    yield made
    postgres.query(servers.place, "ratchet", f"drop database {made.name} with (force)")
    admin = KafkaAdminClient(bootstrap_servers=made.servers.settings.at("kafka"))
    mine = [name for name in admin.list_topics() if name.startswith(f"{made.name}.")]
    if mine:
        admin.delete_topics(mine)
    admin.close()


def states(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["state"] for finding in findings]


def test_a_new_deployment_is_told_what_is_missing_and_one_that_is_set_up_is_fine(patient: Patient) -> None:
    _, before, _ = patient.examined()
    assert states(before["bus"]) == ["ok"]
    assert states(before["topics"]) == ["wrong"]
    assert f"{patient.name}.ratchet.answers" in before["topics"][0]["says"]
    assert states(before["database"]) == ["ok"]
    assert before["migrations"][0]["do"] == "ratchet migrate"

    patient.set_up()
    status, after, printed = patient.examined()
    assert status == 1, "none of our services runs"
    for check in ("bus", "topics", "database", "migrations", "time", "alert rules", "Alertmanager"):
        assert states(after[check]) == ["ok"], after[check]
    assert states(after["gateway"]) == ["wrong"]
    not_scraped = [f["says"] for f in after["Prometheus"] if f["state"] == "wrong"]
    assert any("gateway" in says for says in not_scraped)
    assert patient.servers.place.credentials.postgres_password not in printed


def test_a_topic_that_somebody_changed_is_named_with_the_command_that_mends_it(patient: Patient) -> None:
    patient.set_up()
    name = f"{patient.name}.ratchet.answers"
    admin = KafkaAdminClient(bootstrap_servers=patient.servers.settings.at("kafka"))
    admin.alter_configs([ConfigResource("TOPIC", name, {"retention.ms": "60000"})])
    admin.close()
    answers, changed = bus.bus(patient.bus)
    assert (answers.state, changed.state) == (State.OK, State.LOOK)
    assert f"--entity-name {name} --add-config retention.ms=" in changed.says


def test_a_stalled_broker_is_named_and_the_rest_is_still_examined(patient: Patient) -> None:
    patient.set_up()
    with patient.stalled("kafka"):
        status, found, _ = patient.examined()
    assert status == 1
    assert states(found["bus"]) == ["wrong"]
    assert "spool" in found["bus"][0]["do"]
    assert states(found["migrations"]) == ["ok"]
    assert [finding.state for finding in bus.bus(patient.bus)] == [State.OK, State.OK]


def test_a_stalled_database_is_named_without_its_password(patient: Patient) -> None:
    patient.set_up()
    with patient.stalled("postgres"):
        status, found, printed = patient.examined()
    assert status == 1
    assert states(found["database"]) == ["wrong"]
    assert "migrations" not in found
    assert states(found["topics"]) == ["ok"]
    assert patient.servers.place.credentials.postgres_password not in printed
    assert {finding.state for finding in database.database(patient.database)} == {State.OK}


def test_a_wrong_password_is_refused_in_words(patient: Patient) -> None:
    right = patient.servers.place.credentials.postgres_password
    (refused,) = database.database(patient.database.replace(right, "not-the-password"))
    assert refused.state is State.WRONG
    assert "password authentication failed" in refused.says
    assert "not-the-password" not in refused.says


def test_a_monitoring_that_is_away_is_named(patient: Patient) -> None:
    url = patient.environment["RATCHET_PROMETHEUS_URL"]
    with patient.stalled("prometheus"):
        (away,) = monitoring.prometheus(url, ["gateway"])
    assert away.state is State.WRONG
    assert State.OK in {finding.state for finding in monitoring.prometheus(url, [])}


def test_argilla_without_our_workspace_or_with_a_wrong_key_is_named(servers: RunningStack) -> None:
    servers.need("argilla")
    given = servers.addresses()
    url, key = given["RATCHET_DESK_URL"], given["RATCHET_DESK_API_KEY"]
    nobodys = f"doctor-{uuid.uuid4().hex[:8]}"
    there, missing = desk.desk(url, key, nobodys, ["triage"])
    assert (there.state, missing.state) == (State.OK, State.WRONG)
    assert (nobodys in missing.says, missing.do) == (True, "ratchet desk setup")
    _, refused = desk.desk(url, "not-the-key", nobodys, ["triage"])
    assert (refused.state, refused.configuration) == (State.WRONG, True)
