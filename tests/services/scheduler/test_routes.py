import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.scheduler import repository, routes
from services.scheduler.settings import SchedulerSettings
from services.scheduler.tables import JobRow
from shared.body_limit import BodyLimit
from shared.db import transaction
from shared.web import create_app
from tests.services.scheduler.stage import Stage, write_snapshot

TOKEN = "a token of this test"


@pytest.fixture
def client(stage: Stage) -> Iterator[TestClient]:
    ticker = stage.ticker()
    app = create_app("scheduler", ready=list)
    app.add_middleware(BodyLimit, max_bytes=1_000_000, setting="RATCHET_SCHEDULER_MAX_BODY_BYTES")
    app.include_router(routes.router(stage.intake, ticker, ticker.tick))
    with TestClient(app) as http:
        yield http


@pytest.fixture
def guarded(stage: Stage) -> Iterator[TestClient]:
    ticker = stage.ticker()
    app = create_app("scheduler", ready=list)
    app.include_router(routes.router(stage.intake, ticker, ticker.tick, TOKEN))
    with TestClient(app) as http:
        yield http


def curate(stage: Stage, count: int) -> None:
    with transaction(stage.engine) as session:
        for number in range(count):
            repository.add_example(session, f"e{number}", "triage")


def alert(**changes: object) -> dict[str, object]:
    labels = {"alertname": "Drift", "workload": "triage", "action": "retrain"}
    return {"status": "firing", "labels": labels, "startsAt": "2026-03-02T12:00:00Z", "fingerprint": "f1"} | changes


def webhook(*alerts: dict[str, object]) -> dict[str, object]:
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ratchet",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": list(alerts),
    }


def test_a_training_by_hand_is_one_job_however_often_it_is_asked_for(client: TestClient) -> None:
    body = {"kind": "train", "workload": "triage", "preset": "careless", "who": "Ada", "why": "to see"}
    first, again = client.post("/v1/jobs", json=body), client.post("/v1/jobs", json=body)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    job = client.get(f"/v1/jobs/{first.json()['job_id']}").json()
    assert (job["state"], job["preset"], job["who"], job["why"]) == ("queued", "careless", "Ada", "to see")
    assert job["created_at"].endswith("Z")
    assert (job["started_at"], job["error"], job["progress"], job["result"]) == (None, None, None, None)


def test_an_evaluation_is_asked_for_in_the_shape_of_the_interfaces(client: TestClient, stage: Stage) -> None:
    holdout = write_snapshot(stage.folder / "snapshots", 30, "holdout")
    versions = [{"version": "triage@base-00000000", "run_uri": None}]
    body = {"kind": "evaluate", "workload": "triage", "versions": versions, "holdout_uri": holdout.uri}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    assert client.get(f"/v1/jobs/{answer.json()['job_id']}").json()["kind"] == "evaluate"


def test_three_examples_are_refused_with_a_sentence(client: TestClient, stage: Stage) -> None:
    stage.examples = 3
    answer = client.post("/v1/jobs", json={"kind": "train", "workload": "triage"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("triage has 3 training examples; a training needs at least 10")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"kind": "train"}',
        b'{"kind": "dance", "workload": "triage"}',
        b'{"kind": "train", "workload": 7}',
        b'{"kind": "train", "workload": "billing"}',
        b'{"kind": "train", "workload": "triage", "presett": "careless"}',
        b'{"kind": "train", "workload": "triage", "preset": "../../etc/passwd"}',
        b'{"kind": "evaluate", "workload": "triage", "versions": [], "holdout_uri": "file:///h"}',
        b'{"kind": "evaluate", "workload": "triage", "versions": "all", "holdout_uri": "file:///h"}',
        b'{"kind": "train", "workload": "' + b"x" * 10_000_000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_bad_request_is_refused_and_leaves_nothing(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413, 422)
    assert isinstance(answer.json()["detail"], str)
    assert 10 < len(answer.content) < 10_000
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_jobs_are_listed_newest_first_and_filtered(client: TestClient) -> None:
    ids = [
        client.post("/v1/jobs", json={"kind": "train", "workload": "triage", "preset": p}).json()["job_id"]
        for p in ("default", "careless")
    ]
    assert [job["job_id"] for job in client.get("/v1/jobs").json()["jobs"]] == ids[::-1]
    assert len(client.get("/v1/jobs", params={"limit": 1}).json()["jobs"]) == 1
    for filtered in ({"state": "running"}, {"kind": "evaluate"}, {"workload": "other"}):
        assert client.get("/v1/jobs", params=filtered).json() == {"jobs": []}
    assert client.get("/v1/jobs/none").status_code == 404


def test_a_firing_alert_asks_for_one_training(client: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    answer = client.post("/v1/alerts", json=webhook(alert()))
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": [{"alert": "Drift", "workload": "triage", "why": "alert Drift"}],
        "ignored": [],
    }
    (job,) = client.get("/v1/jobs").json()["jobs"]
    assert (job["trigger"], job["why"]) == ("alert", "alert Drift")
    (ignored,) = client.post("/v1/alerts", json=webhook(alert())).json()["ignored"]
    assert ignored["why"].startswith("it was accepted already, at ")
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "resolved"}, "it is resolved"),
        ({"labels": {"workload": "triage"}}, "does not ask for a training"),
        ({"labels": {"workload": "billing", "action": "retrain"}}, "no workload here; known: triage"),
        ({"labels": {"action": "retrain"}}, "no workload here; known: triage"),
    ],
)
def test_an_alert_that_means_nothing_here_is_ignored_with_the_reason(
    client: TestClient, stage: Stage, changes: dict[str, object], why: str
) -> None:
    curate(stage, 20)
    answer = client.post("/v1/alerts", json=webhook(alert(**changes))).json()
    assert answer["accepted"] == []
    assert why in answer["ignored"][0]["why"]
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_an_alert_in_the_cooldown_is_ignored_and_may_come_again(client: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    job_id = client.post("/v1/jobs", json={"kind": "train", "workload": "triage", "preset": "careless"}).json()[
        "job_id"
    ]
    assert "is under way" in client.post("/v1/alerts", json=webhook(alert())).json()["ignored"][0]["why"]
    with transaction(stage.engine) as session:
        row = session.get_one(JobRow, job_id)
        row.state, row.finished_at = "done", stage.now
    assert "the cooldown of 60 min" in client.post("/v1/alerts", json=webhook(alert())).json()["ignored"][0]["why"]
    stage.now += 3601
    assert len(client.post("/v1/alerts", json=webhook(alert())).json()["accepted"]) == 1


def test_an_alert_whose_training_was_refused_may_come_again(client: TestClient, stage: Stage) -> None:
    curate(stage, 9)
    stage.examples = 9
    for _ in range(2):
        assert len(client.post("/v1/alerts", json=webhook(alert())).json()["accepted"]) == 1
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_two_alerts_of_one_workload_ask_for_one_training(client: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    answer = client.post("/v1/alerts", json=webhook(alert(), alert(fingerprint="f2"))).json()
    assert (len(answer["accepted"]), len(answer["ignored"])) == (1, 1)
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_an_alert_without_a_fingerprint_is_known_by_its_labels(client: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    assert len(client.post("/v1/alerts", json=webhook(alert(fingerprint=""))).json()["accepted"]) == 1
    again = client.post("/v1/alerts", json=webhook(alert(fingerprint=""))).json()
    assert "it was accepted already" in again["ignored"][0]["why"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"version": "4"}',
        b'{"version": "3", "alerts": []}',
        b'{"version": "4", "alerts": [{"status": "on fire", "labels": {}}]}',
        b'{"version": "4", "alerts": [{"status": "firing", "labels": "none"}]}',
        b'{"version": "4", "alerts": [{"status": "firing", "labels": {"workload": ["triage"]}}]}',
    ],
)
def test_a_malformed_webhook_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/alerts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


NOT_STORABLE = [("a\ud800", "half a surrogate pair"), ("a\0", "a NUL character")]


def refusal(client: TestClient, path: str, body: Mapping[str, object]) -> str:
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert client.get("/v1/jobs").json() == {"jobs": []}
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    return detail


@pytest.mark.parametrize(("text", "why"), NOT_STORABLE)
@pytest.mark.parametrize("field", ["workload", "preset", "who", "why"])
def test_a_training_asked_for_in_text_that_cannot_be_stored_is_refused(
    client: TestClient, field: str, text: str, why: str
) -> None:
    assert why in refusal(client, "/v1/jobs", {"kind": "train", "workload": "triage", field: text})


@pytest.mark.parametrize(("text", "why"), NOT_STORABLE)
@pytest.mark.parametrize("field", ["version", "run_uri"])
def test_an_evaluation_of_versions_that_cannot_be_stored_is_refused(
    client: TestClient, field: str, text: str, why: str
) -> None:
    versions = [{"version": "triage@base-00000000", field: text}]
    body = {"kind": "evaluate", "workload": "triage", "versions": versions, "holdout_uri": "file:///h"}
    assert why in refusal(client, "/v1/jobs", body)


@pytest.mark.parametrize(("text", "why"), NOT_STORABLE)
@pytest.mark.parametrize("place", ["alertname", "workload", "name", "annotations", "fingerprint", "startsAt"])
def test_an_alert_in_text_that_cannot_be_stored_is_refused(
    client: TestClient, stage: Stage, place: str, text: str, why: str
) -> None:
    curate(stage, 20)
    labels = {"alertname": "Drift", "workload": "triage", "action": "retrain"}
    changes: dict[str, dict[str, Any]] = {
        "alertname": {"labels": labels | {"alertname": text}},
        "workload": {"labels": labels | {"workload": text}},
        "name": {"labels": labels | {text: "x"}},
        "annotations": {"annotations": {"summary": text}},
    }
    sent = alert(**changes.get(place, {place: text}))
    assert why in refusal(client, "/v1/alerts", webhook(sent))


def test_nul_in_an_address_is_refused_too(client: TestClient) -> None:
    for address in ("/v1/jobs?workload=%00", "/v1/jobs?state=%00", "/v1/jobs/%00"):
        answer = client.get(address)
        assert answer.status_code == 422
        assert "a NUL character" in answer.json()["detail"]


def test_status_says_how_each_workload_stands_and_what_comes_next(client: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    status = client.get("/v1/status").json()
    assert status["jobs"] == {"queued": 0, "running": 0, "done": 0, "failed": 0}
    triage = status["workloads"]["triage"]
    assert triage["new_examples"] == 20
    assert triage["next"] == "waits for 30 more examples (20 of 50)"
    assert triage["trigger"]["min_new_examples"] == 50
    assert triage["last_training"] is None
    job_id = client.post("/v1/jobs", json={"kind": "train", "workload": "triage"}).json()["job_id"]
    triage = client.get("/v1/status").json()["workloads"]["triage"]
    assert (triage["new_examples"], triage["last_training"]["job_id"]) == (0, job_id)


def test_metrics_are_those_of_the_list(client: TestClient) -> None:
    client.post("/v1/jobs", json={"kind": "train", "workload": "triage"})
    text = client.get("/metrics").text
    for name in ("jobs_total", "job_seconds", "new_examples", "running_jobs", "triggers_total", "lost_leases_total"):
        assert f"ratchet_scheduler_{name}" in text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer another"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
def test_where_a_token_is_set_alerts_without_it_are_refused_and_leave_nothing(
    guarded: TestClient, stage: Stage, headers: dict[str, str]
) -> None:
    curate(stage, 20)
    answer = guarded.post("/v1/alerts", json=webhook(alert()), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "RATCHET_SCHEDULER_ALERT_TOKEN" in answer.json()["detail"]
    assert TOKEN not in answer.text
    assert guarded.get("/v1/jobs").json() == {"jobs": []}


def test_an_alert_with_the_token_is_accepted(guarded: TestClient, stage: Stage) -> None:
    curate(stage, 20)
    answer = guarded.post("/v1/alerts", json=webhook(alert()), headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 202
    assert len(answer.json()["accepted"]) == 1


def test_a_token_no_header_could_carry_is_refused_at_the_start() -> None:
    for token in ("two\nlines", "schlüssel", " padded"):
        with pytest.raises(ValueError, match="printable ASCII"):
            SchedulerSettings(alert_token=token)
