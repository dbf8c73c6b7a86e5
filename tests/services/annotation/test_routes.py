"""The HTTP calls on a whole app in this process: real tables, the real embedded bus, the real page."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.annotation.app import build_app
from services.annotation.settings import AnnotationSettings
from shared.bus import Bus, Outgoing, open_bus
from shared.events import AnswerServed, Event, FeedbackGiven, encode
from shared.settings import SharedSettings
from shared.topics import ANSWERS, FEEDBACK
from tests.databases import make_tables

TOML = """
[models.tiny]
path = "builtin:tiny"
[workloads.triage]
base = "tiny"
answer_schema = "triage.json"
[workloads.triage.selection]
audit_share = 1.0
daily_budget = 10
[workloads.triage.gate]
holdout_share = 0.5
min_groups = 20
[workloads.prose]
base = "tiny"
"""
SCHEMA = '{"type": "object", "required": ["queue"]}'
NET, POWER = '{"queue": "net"}', '{"queue": "power"}'


class Annotation:
    """The app under test, and the bus in front of it."""

    def __init__(self, folder: Path) -> None:
        (folder / "ratchet.toml").write_text(TOML)
        (folder / "triage.json").write_text(SCHEMA)
        self.settings = SharedSettings(config=folder / "ratchet.toml", data_dir=folder / "data")
        make_tables(self.settings.database)
        self.bus: Bus = open_bus(self.settings.bus)
        self.client = TestClient(build_app(self.settings, AnnotationSettings(desk_interval_seconds=0.2)))

    def publish(self, *events: Event) -> None:
        topic = {AnswerServed: ANSWERS, FeedbackGiven: FEEDBACK}
        self.bus.publish([Outgoing(topic[type(e)], e.answer_id, encode(e, "gateway")) for e in events])  # type: ignore[attr-defined]

    def answered(self, answer_id: str, prompt: str, answer: str = NET, workload: str = "triage") -> None:
        messages = [{"role": "system", "content": "Triage."}, {"role": "user", "content": prompt}]
        self.publish(
            AnswerServed(answer_id=answer_id, workload=workload, version="v", messages=messages, answer=answer)
        )

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        response = self.client.get(path, params=params)
        assert response.status_code == status, response.text
        return response.json()

    def post(self, path: str, body: Any) -> Any:
        """As ASCII JSON, which can say half a surrogate pair."""
        return self.client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})

    def verdict(self, sample_id: str, status: int = 201, **body: Any) -> Any:
        body = {"verdict": "fix", "ideal": POWER, "annotator": "ada", **body}
        response = self.client.post(f"/v1/desk/items/{sample_id}/verdict", json=body)
        assert response.status_code == status, response.text
        return response.json()

    def shown(self, answer_id: str, prompt: str, **more: Any) -> None:
        """Answered, and on the desk."""
        self.answered(answer_id, prompt, **more)
        until(lambda: self.client.get(f"/v1/desk/items/{answer_id}").status_code == 200)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def annotation(tmp_path: Path) -> Iterator[Annotation]:
    whole = Annotation(tmp_path)
    with whole.client:
        yield whole
    whole.bus.close()


def test_an_answer_travels_from_the_bus_to_an_example_and_its_lineage(annotation: Annotation) -> None:
    annotation.shown("a1", "the router in the hall is down")
    item = annotation.get("/v1/desk/next", workload="triage", annotator="ada")["item"]
    assert item == {
        "sample_id": "a1",
        "workload": "triage",
        "version": "v",
        "messages": [
            {"role": "system", "content": "Triage."},
            {"role": "user", "content": "the router in the hall is down"},
        ],
        "answer": NET,
        "ideal": NET,
        "signal": "random audit",
        "confidence": None,
        "served_at": item["served_at"],
        "feedback": [],
        "schema_errors": [],
        "state": "waiting",
        "verdict": None,
    }
    taken = annotation.verdict("a1", reasons=["wrong"], comment="power is out")
    assert taken["progress"]["done"] == taken["progress"]["done_today"] == 1
    assert taken["progress"]["examples"] == 1
    correction = annotation.get(f"/v1/corrections/{taken['correction_id']}")
    assert (correction["outcome"], correction["reasons"], correction["ideal"]) == ("example", ["wrong"], POWER)
    example = annotation.get(f"/v1/examples/{correction['example_id']}")
    assert (example["sample_id"], example["kind"], example["state"]) == ("a1", "fix", "active")
    sample = annotation.get("/v1/samples/a1")
    assert (sample["state"], sample["correction_ids"]) == ("done", [taken["correction_id"]])
    done = annotation.get("/v1/desk/items", workload="triage", state="done")["items"]
    assert [(i["state"], i["verdict"], i["ideal"]) for i in done] == [("done", "fix", POWER)]
    body = {"workload": "triage", "split": example["split"]}
    snapshot = annotation.client.post("/v1/snapshots", json=body).json()
    assert (snapshot["examples"], snapshot["fix"]) == (1, 1)
    status = annotation.get("/v1/status")["workloads"]["triage"]
    assert (status["samples"], status["corrected"], status["train"] + status["holdout"]) == (1, 1, 1)
    assert status["budget_left"] == 9


def test_nothing_an_annotator_sees_tells_the_holdout(annotation: Annotation) -> None:
    for n, words in enumerate(("alpha beta gamma delta eps", "one two three four five", "red green blue white black")):
        annotation.answered(f"a{n}", words)
    annotation.publish(*(FeedbackGiven(feedback_id=f"f{n}", answer_id=f"a{n}", thumb="down") for n in range(3)))

    def all_there() -> bool:
        items = annotation.get("/v1/desk/items", workload="triage")["items"]
        return len(items) == 3 and all(i["feedback"] for i in items)

    until(all_there)
    items = annotation.get("/v1/desk/items", workload="triage")["items"]
    assert {item["signal"] for item in items} == {"negative feedback"}
    assert len({tuple(sorted(item)) for item in items}) == 1
    assert all("split" not in item and "group" not in item for item in items)


def test_the_same_verdict_twice_is_the_same_correction(annotation: Annotation) -> None:
    annotation.shown("a1", "router down")
    first = annotation.verdict("a1")
    assert annotation.verdict("a1", status=200)["correction_id"] == first["correction_id"]
    other = annotation.verdict("a1", verdict="good", ideal=NET)
    assert annotation.get(f"/v1/corrections/{first['correction_id']}")["superseded_by"] == other["correction_id"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"ideal": NET}, "the text is what the model said"),
        ({"ideal": NET + "\n"}, "the text is what the model said"),
        ({"ideal": " "}, "the ideal answer is empty"),
        ({"ideal": "{}"}, "'queue' is a required property"),
        ({"verdict": "good", "ideal": POWER}, "the text was edited"),
        ({"verdict": "perfect"}, "body.verdict"),
        ({"reasons": ["mood"]}, "body.reasons.0"),
        ({"annotator": "  "}, "body.annotator"),
        ({"annotator": "x" * 65}, "body.annotator"),
        ({"ideal": "x" * 100_001}, "100001 bytes, more than the 100000"),
        ({"ideal": 7}, "body.ideal"),
        ({"mood": "good"}, "body.mood"),
    ],
)
def test_a_slip_is_said_at_once_and_nothing_is_kept(annotation: Annotation, body: dict[str, Any], says: str) -> None:
    annotation.shown("a1", "router down")
    assert says in annotation.verdict("a1", status=422, **body)["detail"]
    assert annotation.get("/v1/samples/a1")["state"] == "waiting"
    assert annotation.get("/v1/samples/a1")["correction_ids"] == []


def test_hostile_bodies_get_a_sentence(annotation: Annotation) -> None:
    path = "/v1/desk/items/a1/verdict"
    json_type = {"content-type": "application/json"}
    bodies = [b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"verdict": "\\ud800"}', b"null", b""]
    for body in bodies:
        response = annotation.client.post(path, content=body, headers=json_type)
        assert response.status_code in (400, 422), (body[:20], response.text)
        assert isinstance(response.json()["detail"], str)
    large = annotation.client.post(path, content=b"x" * 10_000_000, headers=json_type)
    assert large.status_code == 413
    assert "larger than 1000000 bytes" in large.json()["detail"]


def test_unknown_things_are_404_and_say_what(annotation: Annotation) -> None:
    for path in ("/v1/samples/x", "/v1/corrections/x", "/v1/examples/x", "/v1/desk/items/x"):
        assert "'x'" in annotation.get(path, status=404)["detail"]
    assert "declared: prose, triage" in annotation.get("/v1/desk/next", status=404, workload="x")["detail"]
    assert annotation.verdict("x", status=404)["detail"] == "no sample has the id 'x'"


def test_a_sample_that_was_not_shown_takes_no_verdict(annotation: Annotation) -> None:
    annotation.publish(
        AnswerServed(answer_id="a1", workload="triage", version="v", messages=[], answer=NET, client_abort=True)
    )
    until(lambda: annotation.client.get("/v1/samples/a1").status_code == 200)
    assert "not on the desk" in annotation.verdict("a1", status=409)["detail"]
    annotation.get("/v1/desk/items/a1", status=409)


def test_missing_knowledge_is_the_retrieval_backlog(annotation: Annotation) -> None:
    annotation.shown("a1", "Who is on call this week?")
    taken = annotation.verdict("a1", verdict="discard", ideal=None, reasons=["knowledge"])
    [gap] = annotation.get("/v1/knowledge", workload="triage")["gaps"]
    assert (gap["correction_id"], gap["prompt"], gap["ideal"]) == (
        taken["correction_id"],
        "Who is on call this week?",
        None,
    )
    assert annotation.get("/v1/knowledge", workload="prose")["gaps"] == []


def test_two_annotators_get_different_items(annotation: Annotation) -> None:
    annotation.shown("a1", "the router is down")
    annotation.shown("a2", "the printer eats paper")
    ada = annotation.get("/v1/desk/next", workload="triage", annotator="ada")["item"]["sample_id"]
    bob = annotation.get("/v1/desk/next", workload="triage", annotator="bob")["item"]["sample_id"]
    assert {ada, bob} == {"a1", "a2"}
    assert annotation.get("/v1/desk/next", workload="triage", annotator="ada")["item"]["sample_id"] == ada
    assert annotation.get("/v1/desk/next", workload="triage", annotator="eve")["item"] is not None


def test_next_goes_on_behind_an_item_and_ends(annotation: Annotation) -> None:
    annotation.shown("a1", "the router is down")
    annotation.shown("a2", "the printer eats paper")
    first = annotation.get("/v1/desk/next", annotator="ada")["item"]["sample_id"]
    second = annotation.get("/v1/desk/next", workload="triage", after=first)["item"]["sample_id"]
    assert {first, second} == {"a1", "a2"}
    last = annotation.get("/v1/desk/next", workload="triage", after=second)
    assert (last["item"], last["progress"]["waiting"]) == (None, 2)


def test_workloads_come_with_their_schema_and_reasons(annotation: Annotation) -> None:
    prose, triage = sorted(annotation.get("/v1/desk/workloads")["workloads"], key=lambda w: str(w["name"]))
    assert (prose["answer_schema"], triage["answer_schema"]["required"]) == (None, ["queue"])
    assert triage["reasons"][-1] == {"value": "knowledge", "label": "missing or stale knowledge"}


def test_a_snapshot_without_examples_or_of_a_wrong_split_is_refused(annotation: Annotation) -> None:
    def refused(body: dict[str, Any]) -> Any:
        response = annotation.client.post("/v1/snapshots", json=body)
        return response.status_code, response.json()["detail"]

    assert refused({"workload": "triage", "split": "train"})[0] == 422
    assert refused({"workload": "triage", "split": "all"})[0] == 422
    assert refused({"workload": "x", "split": "train"})[0] == 404


def test_the_page_is_served_under_a_strict_policy(annotation: Annotation) -> None:
    page = annotation.client.get("/")
    assert page.status_code == 200
    assert page.url.path == "/desk/"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert annotation.client.get("/desk/desk.js").headers["x-content-type-options"] == "nosniff"
    assert annotation.client.get("/desk/../app.py").status_code == 404


def test_ready_and_measured(annotation: Annotation) -> None:
    annotation.shown("a1", "router down")
    annotation.verdict("a1")
    assert annotation.get("/readyz")["status"] == "ready"
    metrics = annotation.client.get("/metrics").text
    for name in ("samples_total", "corrections_total", "examples_total", "waiting_samples", "rejected_total"):
        assert f"ratchet_annotation_{name}" in metrics


@pytest.mark.parametrize(("bad", "what"), [("a\0b", "a NUL character"), ("a\ud83db", "half a surrogate pair")])
@pytest.mark.parametrize("field", ["ideal", "comment", "annotator"])
def test_text_that_cannot_be_stored_is_refused_with_a_sentence(
    annotation: Annotation, field: str, bad: str, what: str
) -> None:
    annotation.shown("a1", "the router in the hall is down")
    body = {"verdict": "fix", "ideal": POWER, "annotator": "ada", field: bad}
    response = annotation.post("/v1/desk/items/a1/verdict", body)
    assert response.status_code == 422, response.text
    assert f"body.{field}: contains {what} at character 2" in response.json()["detail"]
    assert annotation.get("/v1/samples/a1")["correction_ids"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/desk/items/a1/verdict", {"verdict": "\ud83d", "annotator": "ada"}),
        ("/v1/desk/items/a1/verdict", {"verdict": "fix", "annotator": "ada", "reasons": ["\ud83d"]}),
        ("/v1/desk/items/a1/verdict", {"verdict": "fix", "annotator": "ada", "\ud83d": 1}),
        ("/v1/desk/items/a1/verdict", "\ud83d"),
        ("/v1/snapshots", {"workload": "\ud83d", "split": "train"}),
        ("/v1/snapshots", {"workload": "tri\0age", "split": "train"}),
        ("/v1/snapshots", {"workload": "triage", "split": "\ud83d"}),
    ],
)
def test_half_a_character_anywhere_in_a_body_is_a_sentence(annotation: Annotation, path: str, body: Any) -> None:
    response = annotation.post(path, body)
    assert response.status_code == 422, response.text
    assert response.json()["detail"].startswith("body")
