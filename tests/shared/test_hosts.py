"""A service on a loopback address answers to loopback names; a page that rebinds its name gets nothing."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.hosts import HostGuard
from shared.web import create_app, serve


def status(host: str, listens_on: str = "127.0.0.1", allowed: str = "") -> int:
    app = HostGuard(create_app("tester", ready=list), listens_on, allowed)
    return TestClient(app).get("/healthz", headers={"host": host}).status_code


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8082",
        "localhost",
        "LOCALHOST:1",
        "desk.localhost",
        "[::1]:8082",
        "[::1]",
        "127.8.8.8",
        "localhost.:9",
    ],
)
def test_loopback_names_are_answered(host: str) -> None:
    assert status(host) == 200
    assert status(host, allowed="desk.example") == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8082",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "[::2]:1",
        "x[",
    ],
)
def test_other_names_are_refused_in_a_sentence(host: str) -> None:
    app = HostGuard(create_app("tester", ready=list), "localhost")
    response = TestClient(app).get("/healthz", headers={"host": host})
    assert response.status_code == 421
    assert repr(host) in response.json()["detail"]
    assert "RATCHET_ALLOWED_HOSTS" in response.json()["detail"]


def test_the_setting_names_further_hosts() -> None:
    allowed = "desk.example, *.team.example , [2001:db8::5]"
    assert status("desk.example:80", allowed=allowed) == 200
    assert status("a.team.example", allowed=allowed) == 200
    assert status("[2001:DB8::5]:80", allowed=allowed) == 200
    assert status("team.example", allowed=allowed) == 421
    assert status("evil.example", allowed=allowed) == 421
    assert status("evil.example", allowed="*") == 200


def test_a_service_that_listens_elsewhere_answers_to_all_until_some_are_named() -> None:
    assert status("anything.example", listens_on="0.0.0.0") == 200
    assert status("anything.example", listens_on="0.0.0.0", allowed="desk.example") == 421
    assert status("10.0.0.7:8082", listens_on="10.0.0.7", allowed="desk.example") == 200


def test_one_wrong_name_among_two_is_enough() -> None:
    app = HostGuard(create_app("tester", ready=list), "127.0.0.1")
    headers = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert TestClient(app).get("/healthz", headers=headers).status_code == 421


def test_every_served_app_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr("shared.web.uvicorn.run", lambda app, **_: served.append(app))
    serve(create_app("tester", ready=list), "127.0.0.1", 1, allowed_hosts="desk.example")
    client = TestClient(served[0])
    statuses = [client.get("/healthz", headers={"host": h}).status_code for h in ("evil.example", "desk.example")]
    assert statuses == [421, 200]
