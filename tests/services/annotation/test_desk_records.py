import json

from services.annotation.desk import Feedback, Item, Message
from services.annotation.desk_answers import oldest_first, verdicts_in
from services.annotation.desk_form import form_of, review_form_of, version_of
from services.annotation.desk_records import MOST_BATCH_RECORDS, batches, halves, record_of
from tests.services.annotation.annotation_world import SCHEMA, a_workload

IDEAL = {"ideal": "q1"}


def an_item(**changes: object) -> Item:
    defaults: dict[str, object] = {
        "sample_id": "a1",
        "workload": "triage",
        "version": "triage@3f2a9c01d4e5b6a7",
        "messages": [Message(role="user", content="Router down?")],
        "answer": '{"queue": "net"}',
        "ideal": '{"queue": "net"}',
        "signal": "random audit",
        "confidence": 0.25,
        "served_at": "2026-11-20T10:00:00Z",
        "feedback": [],
        "schema_errors": [],
        "state": "waiting",
        "verdict": None,
    }
    return Item.model_validate({**defaults, **changes})


def test_a_record_carries_what_an_annotator_needs_and_no_more() -> None:
    feedback = Feedback(thumb="down", score=0.1, comment="no", suggested_answer="power")
    record = record_of(an_item(feedback=[feedback], schema_errors=["queue: missing"]), IDEAL)
    assert record["external_id"] == "a1"
    assert record["metadata"] == {
        "version": "triage@3f2a9c01d4e5b6a7",
        "signal": "random audit",
        "sample": "a1",
        "confidence": 0.25,
    }
    assert record["suggestions"] == [{"question_id": "q1", "value": '{"queue": "net"}'}]
    for part in ("random audit", "25&#37; sure", "thumb down", "comment&#58; no", "power", "queue&#58; missing"):
        assert part in record["fields"]["notes"]
    assert set(record["fields"]) == {"conversation", "answer", "notes"}
    assert set(record_of(an_item(), IDEAL, "Annotator 1: good")["fields"]) >= {"opinions"}


def test_an_answer_that_is_too_long_to_edit_is_not_prefilled() -> None:
    record = record_of(an_item(answer="x" * 100_001, ideal="x" * 100_001), IDEAL)
    assert record["suggestions"] == []
    assert "more characters are not shown here" in record["fields"]["answer"]
    assert record_of(an_item(ideal=""), IDEAL)["suggestions"] == []


def test_a_long_conversation_keeps_its_first_and_its_last_turns() -> None:
    messages = [Message(role="user", content=f"turn {n}") for n in range(1000)]
    shown = record_of(an_item(messages=messages), IDEAL)["fields"]["conversation"]
    assert len(shown) == 200
    assert (shown[0]["content"], shown[-1]["content"]) == ("turn 0", "turn 999")
    assert "801 messages are not shown here" in shown[1]["content"]


def test_a_record_stays_far_below_what_breaks_an_index() -> None:
    long = "<" * 1_000_000
    item = an_item(
        messages=[Message(role=long, content=long)] * 1000, answer=long, ideal=long, signal=long, version=long
    )
    assert len(json.dumps(record_of(item, IDEAL))) < 1_500_000


def test_batches_keep_to_a_number_and_a_size() -> None:
    records = [{"external_id": f"a{n}"} for n in range(250)]
    even = [len(batch) for batch in batches(records, {r["external_id"]: 10 for r in records})]
    assert even == [MOST_BATCH_RECORDS, MOST_BATCH_RECORDS, 50]
    big = [len(batch) for batch in batches(records[:3], {"a0": 3_000_000, "a1": 3_000_000, "a2": 5_000_000})]
    assert big == [1, 1, 1]
    assert halves([1, 2, 3]) == ([1], [2, 3])


def test_responses_become_verdicts_and_drafts_do_not() -> None:
    def response(number: int, status: str, **values: object) -> dict[str, object]:
        given = {name: {"value": value} for name, value in values.items()}
        return {"id": f"r{number}", "status": status, "user_id": "u1", "updated_at": f"t{9 - number}", "values": given}

    responses = [
        response(1, "submitted", verdict="fix", ideal="power", reasons=["wrong", "unknown"], comment=" why "),
        response(2, "draft", verdict="good"),
        {**response(3, "discarded"), "values": None},
        response(4, "discarded", verdict="good", reasons=["knowledge"]),
    ]
    found = oldest_first(
        verdicts_in([{"external_id": "a1", "responses": responses}, {"external_id": "a2"}], {"u1": "ada"}, final=False)
    )
    said = [(v.source.response_id, v.verdict, v.ideal, sorted(v.reasons), v.comment) for v in found if v.source]
    assert said == [
        ("r4", "discard", None, ["knowledge"], None),
        ("r3", "discard", None, [], None),
        ("r1", "fix", "power", ["wrong"], "why"),
    ]
    assert {v.annotator for v in found} == {"ada"}


def test_what_argilla_freezes_makes_another_version_and_guidelines_do_not() -> None:
    plain, schema = form_of("triage", a_workload()), form_of("triage", a_workload(answer_schema=SCHEMA))
    assert plain.digest == schema.digest
    assert plain.guidelines != schema.guidelines
    two = form_of("triage", a_workload(desk={"answers_per_item": 2}))
    assert two.digest != plain.digest
    review = review_form_of("triage", a_workload())
    assert review.digest != plain.digest
    for form, for_review in ((plain, False), (review, True)):
        found = version_of(form.name(7))
        assert found is not None
        assert (found.workload, found.for_review, found.number, found.digest) == ("triage", for_review, 7, form.digest)
    assert version_of("somebody else's") is None


def test_guidelines_name_each_property_and_fit() -> None:
    schema = {
        "type": "object",
        "required": ["queue"],
        "properties": {
            "queue": {"enum": ["net", "power"]},
            "severity": {"type": ["integer", "null"], "description": "1 is worst"},
        },
    }
    text = form_of("triage", a_workload(answer_schema=schema, system_prompt="Say ```json``` only")).guidelines
    assert '* `queue`: one of `"net"`, `"power"`' in text
    assert "* `severity` (may be left out): integer or null; 1 is worst" in text
    assert "````\nSay ```json``` only\n````" in text
    huge = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}}
    long = form_of("triage", a_workload(answer_schema=huge)).guidelines
    assert len(long) <= 10_000
    assert long.endswith("(The rest did not fit here.)")
