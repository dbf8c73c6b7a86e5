"""What every service answers alike: health, readiness with its objections, metrics, and errors as sentences."""

import logging

import pytest
from fastapi.testclient import TestClient

from shared.errors import BadConfig, SpoolFull, Unavailable, Unusable
from shared.web import configure_logging, create_app, run_service


def client(objections: list[str]) -> TestClient:
    app = create_app("tester", ready=lambda: objections)

    @app.get("/raise/{kind}")
    def fail(kind: str) -> None:
        raise {"unusable": Unusable, "unavailable": Unavailable, "full": SpoolFull}[kind](f"{kind}: what to do")

    @app.post("/keep")
    def keep(body: dict[str, str]) -> str:
        return str(len(body["text"].encode()))

    @app.post("/refuse")
    def refuse(body: dict[str, str]) -> None:
        raise Unusable(f"there is no {body['text']}")

    return TestClient(app)


def test_a_ready_service_says_so() -> None:
    answers = client([])
    assert answers.get("/healthz").json() == {"status": "ok", "service": "tester"}
    assert answers.get("/readyz").json() == {"status": "ready", "objections": []}


def test_a_service_that_waits_is_healthy_but_not_ready_and_says_why() -> None:
    answers = client(["the database is away"])
    assert answers.get("/healthz").status_code == 200
    response = answers.get("/readyz")
    assert response.status_code == 503
    assert response.json()["objections"] == ["the database is away"]


def test_metrics_are_in_prometheus_text() -> None:
    response = client([]).get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "# TYPE python_gc_objects_collected_total counter" in response.text


@pytest.mark.parametrize(("kind", "status"), [("unusable", 422), ("unavailable", 503), ("full", 503)])
def test_our_errors_become_a_status_and_a_sentence(kind: str, status: int) -> None:
    response = client([]).get(f"/raise/{kind}")
    assert response.status_code == status
    assert response.json() == {"detail": f"{kind}: what to do"}
    assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.parametrize("route", ["/keep", "/refuse"])
def test_text_that_is_none_is_a_sentence(route: str) -> None:
    response = client([]).post(route, content=b'{"text": "half \\ud800"}', headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert "\\ud800" in response.json()["detail"]


def test_a_bad_configuration_is_a_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise BadConfig("RATCHET_X='y': it should be z")

    with pytest.raises(SystemExit) as ended:
        run_service(main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "ratchet: RATCHET_X='y': it should be z\n"


@pytest.mark.parametrize("library", ["alembic.runtime.migration", "uvicorn.error", "httpx"])
def test_the_log_holds_a_librarys_warnings_but_not_its_every_step(library: str) -> None:
    configure_logging("INFO")
    assert not logging.getLogger(library).isEnabledFor(logging.INFO)
    assert logging.getLogger(library).isEnabledFor(logging.WARNING)
