"""To a real Argilla and back: setup, push, pull."""

import time

import psutil
import pytest

from services.annotation.argilla_desk import ArgillaDesk
from services.annotation.desk import Item, Message
from services.annotation.tables import ExampleRow, OpinionRow
from tests.real.argilla.conftest import DeskOf
from tests.real.argilla.desk_world import NET, POWER, DeskWorld
from tests.real.stack import RunningStack
from tests.services.annotation.annotation_world import a_workload

pytestmark = [pytest.mark.real, pytest.mark.slow]

RATE = 60.0  # records a second


def an_item(sample_id: str, **changes: object) -> Item:
    defaults: dict[str, object] = {
        "sample_id": sample_id,
        "workload": "triage",
        "version": "triage@3f2a9c01d4e5b6a7",
        "messages": [Message(role="user", content=f"Ticket {sample_id}: the router in hall 4 is down since 3 pm.")],
        "answer": NET,
        "ideal": NET,
        "signal": "low confidence",
        "confidence": 0.5,
        "served_at": "2026-11-20T10:00:00Z",
        "feedback": [],
        "schema_errors": [],
        "state": "waiting",
        "verdict": None,
    }
    return Item.model_validate({**defaults, **changes})


def test_every_kind_of_verdict_comes_back_once(desk: DeskWorld) -> None:
    desk.shown("a1", "a2", "a3", "a4")
    desk.says("ada", "a1", "fix", POWER)
    desk.says("ada", "a2", "good", NET)
    desk.says("ada", "a3", "discard", NET)
    desk.says("ada", "a4", "fix", POWER, reasons=("knowledge",))
    assert desk.collect() == 4
    assert desk.collect() == 0
    rows = {c.sample_id: (c.verdict, c.ideal, c.outcome, c.annotator) for c in desk.corrections()}
    ada = desk.username("ada")
    assert {sample_id: rows[sample_id] for sample_id in ("a1", "a2", "a3", "a4")} == {
        "a1": ("fix", POWER, "example", ada),
        "a2": ("good", None, "example", ada),
        "a3": ("discard", None, "discarded", ada),
        "a4": ("fix", POWER, "knowledge_gap", ada),
    }
    desk.assert_equal_to_argilla()


def test_an_edited_response_supersedes_and_a_discarded_one_ends_the_example(desk: DeskWorld) -> None:
    desk.shown("e1")
    desk.says("ada", "e1", "fix", POWER)
    desk.collect()
    desk.says("ada", "e1", "fix", '{"queue": "phones"}')
    desk.collect()
    assert desk.stands()["e1"] == ("fix", '{"queue": "phones"}')
    desk.says("ada", "e1", "discard", None)
    desk.collect()
    assert desk.stands()["e1"] == ("discard", None)
    assert [e.state for e in desk.world.rows(ExampleRow) if e.sample_id == "e1"] == ["retired", "retired"]
    assert [o.label for o in desk.world.rows(OpinionRow) if o.sample_id == "e1"] == ["discard"]
    desk.assert_equal_to_argilla()


def test_two_annotators_on_one_item_are_two_corrections_and_the_later_stands(desk: DeskWorld) -> None:
    desk.shown("d1")
    desk.says("ada", "d1", "fix", POWER)
    desk.says("bob", "d1", "fix", '{"queue": "phones"}')
    assert desk.collect() == 2
    assert desk.collect() == 0
    rows = [c for c in desk.corrections() if c.sample_id == "d1"]
    assert [c.superseded_by is None for c in rows] == [False, True]
    assert desk.stands()["d1"] == ("fix", '{"queue": "phones"}')
    desk.assert_equal_to_argilla()


def test_setup_twice_changes_nothing_and_a_changed_form_is_a_new_version(desk_of: DeskOf) -> None:
    desk = desk_of()
    desk.shown("a1")
    before = desk.argilla.datasets(desk.workspace)
    assert [account.password for account in desk.desk.setup([desk.username("ada")])] == [None]
    assert desk.argilla.datasets(desk.workspace) == before

    workloads = {"triage": a_workload(desk={"answers_per_item": 2}, system_prompt="Triage.")}
    changed = ArgillaDesk(desk.argilla.url, desk.argilla.api_key, desk.workspace, workloads, sweep_seconds=3600)
    changed.setup()
    after = desk.argilla.datasets(desk.workspace)
    [new] = set(after) - set(before)
    assert new.startswith("triage.v2-")
    states = {row["dataset"]: row["state"] for row in changed.status() if not row["for_review"]}
    assert states == {new: "current", next(iter(before)): "draining"}

    changed.push([an_item("b1")])
    assert set(desk.argilla.records(after[new])) == {"b1"}
    old = desk.argilla.records(before[next(iter(before))])["a1"]
    body = {"status": "submitted", "values": {"verdict": {"value": "good"}}}
    key = desk.key("ada")
    assert desk.argilla.call("POST", f"/records/{old['id']}/responses", key=key, json=body).status_code == 201
    assert [verdict.sample_id for verdict in changed.pull()] == ["a1"]
    assert {row["state"] for row in changed.status() if row["dataset"] in before} == {"drained"}


def test_guidelines_change_in_place(desk_of: DeskOf) -> None:
    desk = desk_of()
    schema = {"type": "object", "properties": {"urgency": {"type": "integer", "description": "1 is worst"}}}
    workloads = {"triage": a_workload(answer_schema=schema)}
    ArgillaDesk(desk.argilla.url, desk.argilla.api_key, desk.workspace, workloads, sweep_seconds=3600).setup()
    assert len(desk.argilla.datasets(desk.workspace)) == 1
    guidelines = desk.argilla.get(f"/datasets/{desk.dataset()}")["guidelines"]
    assert "`urgency` (may be left out): integer; 1 is worst" in guidelines


def test_a_record_that_argilla_refuses_does_not_hold_up_the_others(desk_of: DeskOf) -> None:
    desk = desk_of()
    items = [an_item(f"s{n}") for n in range(10)]
    items[3] = an_item("s3", confidence=float("nan"))
    refused = desk.desk.push(items)
    assert set(refused) == {"s3"}
    assert "answered 422" in refused["s3"]
    assert set(desk.argilla.records(desk.dataset())) == {f"s{n}" for n in range(10)} - {"s3"}


def test_what_is_huge_is_shown_shortened_and_edited_whole(desk_of: DeskOf) -> None:
    desk = desk_of()
    long = "ä<b>" * 20_000
    messages = [Message(role="user", content=long) for _ in range(700)]
    assert desk.desk.push([an_item("s1", messages=messages, answer=long, ideal=long, version="v" * 40_000)]) == {}
    record = desk.argilla.records(desk.dataset())["s1"]
    assert len(record["fields"]["conversation"]) == 200
    assert "more characters are not shown here" in record["fields"]["answer"]
    suggestions = desk.argilla.get(f"/records/{record['id']}/suggestions")["items"]
    assert [s["value"] for s in suggestions] == [long]


def test_records_are_pushed_at_sixty_a_second(desk_of: DeskOf, servers: RunningStack) -> None:
    """By the clock, or, where other work holds the processors, by the seconds that Argilla's own process used."""
    desk = desk_of()
    pid = servers.server("argilla").pid
    assert pid
    argilla, best, pushed = psutil.Process(pid), 0.0, 0
    for turn in range(3):
        items = [an_item(f"s{turn}-{n}") for n in range(200)]
        began, used = time.monotonic(), _cpu_seconds(argilla)
        assert desk.desk.push(items) == {}
        by_clock = len(items) / (time.monotonic() - began)
        by_cpu = len(items) / (_cpu_seconds(argilla) - used)
        print(
            f"\npushed {by_clock:.0f} records/s; {by_cpu:.0f} for each second of Argilla's processor time", flush=True
        )
        best, pushed = max(best, by_clock, by_cpu), pushed + len(items)
        if best >= RATE:
            break
    assert best >= RATE
    assert desk.desk.push([an_item(f"s0-{n}") for n in range(200)]) == {}
    assert len(desk.argilla.records(desk.dataset())) == pushed


def _cpu_seconds(process: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in (process, *process.children(recursive=True)))
