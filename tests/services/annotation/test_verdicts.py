from pathlib import Path

import pytest

from services.annotation import repository
from services.annotation.tables import CorrectionRow
from services.annotation.verdicts import NotOnTheDesk, UnknownItem
from shared.events import ExampleCurated, ExampleRejected, ExampleRetired, KnowledgeGapFound, SampleCorrected
from tests.services.annotation.annotation_world import SCHEMA, World, a_workload

pytestmark = pytest.mark.usefixtures("database")

PROMPT = "Ticket 17: the router in the hall is down"


def correction(world: World, correction_id: str) -> CorrectionRow:
    with world.session() as session:
        row = repository.correction(session, correction_id)
    assert row is not None
    return row


def test_a_fix_becomes_an_example_and_two_facts(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    done = world.corrected("a1", PROMPT, reasons=["format"])
    [example] = world.examples()
    sample = world.sample("a1")
    assert world.facts() == [
        SampleCorrected(correction_id=done.correction_id, sample_id="a1", workload="triage", verdict="fix"),
        ExampleCurated(
            example_id=example.example_id,
            correction_id=done.correction_id,
            workload="triage",
            split=sample.split,
            group=sample.group_id,
        ),
    ]
    assert (sample.state, example.kind, example.split) == ("done", "fix", sample.split)
    assert correction(world, done.correction_id).outcome == "example"


def test_the_same_verdict_twice_is_one_correction_and_one_set_of_facts(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    first = world.corrected("a1", PROMPT)
    facts = world.facts()
    again = world.verdict("a1", ideal='{"queue": "power"}\n')
    assert (again.correction_id, again.created) == (first.correction_id, False)
    assert world.facts() == facts


def test_a_later_verdict_on_the_same_sample_supersedes_the_former(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    first = world.corrected("a1", PROMPT)
    second = world.verdict("a1", ideal='{"queue": "phones"}')
    [retired], [active] = world.examples("retired"), world.examples()
    assert retired.superseded_by == active.example_id
    assert active.correction_id == second.correction_id
    assert correction(world, first.correction_id).superseded_by == second.correction_id
    assert world.facts()[-1].supersedes == retired.example_id  # type: ignore[attr-defined]


def test_going_back_to_a_former_verdict_is_a_new_correction(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    first = world.corrected("a1", PROMPT)
    world.verdict("a1", ideal='{"queue": "phones"}')
    third = world.verdict("a1")
    assert third.created
    assert third.correction_id != first.correction_id
    assert [e.correction_id for e in world.examples()] == [third.correction_id]


def test_a_later_correction_of_the_same_prompt_by_another_sample_supersedes(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    prompt = world.prompt_in("train")
    world.corrected("a1", prompt)
    world.answered("a2", prompt, version="triage@3f2a9c01d4e5b6a7")
    world.disliked("a2")
    world.fill()
    world.verdict("a2", ideal='{"queue": "phones"}', annotator="bob")
    assert [e.sample_id for e in world.examples()] == ["a2"]
    assert [e.sample_id for e in world.examples("retired")] == ["a1"]


def test_a_prompt_with_another_number_supersedes_nothing(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a17", PROMPT)
    world.corrected("a18", PROMPT.replace("17", "18"), ideal='{"queue": "phones"}')
    assert {e.sample_id for e in world.examples()} == {"a17", "a18"}
    assert len({e.group_id for e in world.examples()}) == 1


def test_discarding_what_taught_before_retires_it(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", PROMPT)
    [example] = world.examples()
    done = world.verdict("a1", "discard", ideal=None)
    assert world.examples() == []
    assert correction(world, done.correction_id).outcome == "discarded"
    [corrected, retired] = world.facts()[2:]
    assert isinstance(corrected, SampleCorrected)
    assert retired == ExampleRetired(example_id=example.example_id, workload="triage", why="discarded")


def test_discarding_what_never_taught_retires_nothing(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", PROMPT, "discard", ideal=None)
    assert [type(fact) for fact in world.facts()] == [SampleCorrected]


def test_missing_knowledge_goes_to_the_backlog_and_retires_what_taught_before(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", PROMPT)
    [example] = world.examples()
    gap = world.verdict("a1", reasons=["knowledge"])
    assert world.facts()[-2] == ExampleRetired(example_id=example.example_id, workload="triage", why="knowledge_gap")
    assert world.facts()[-1] == KnowledgeGapFound(correction_id=gap.correction_id, workload="triage")
    assert world.examples() == []
    with world.session() as session:
        [(row, sample)] = repository.knowledge_gaps(session, "triage")
    assert (row.correction_id, sample.answer_id) == (gap.correction_id, "a1")


def test_a_gap_that_was_closed_by_a_later_verdict_leaves_the_backlog(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", PROMPT, reasons=["knowledge"])
    world.verdict("a1", "discard", ideal=None)
    with world.session() as session:
        assert list(repository.knowledge_gaps(session, None)) == []


@pytest.mark.parametrize(
    ("verdict", "ideal", "reason"),
    [("fix", "", "empty"), ("fix", '{"queue": "net"}', "unchanged"), ("fix", "{}", "schema_invalid")],
)
def test_a_verdict_that_cannot_teach_is_kept_and_said(tmp_path: Path, verdict: str, ideal: str, reason: str) -> None:
    world = World.in_folder(tmp_path, triage=a_workload(answer_schema=SCHEMA))
    done = world.corrected("a1", PROMPT, verdict, ideal=ideal)  # type: ignore[arg-type]
    assert world.facts()[-1] == ExampleRejected(correction_id=done.correction_id, workload="triage", reason=reason)
    row = correction(world, done.correction_id)
    assert (row.outcome, row.refusal) == ("rejected", reason)
    assert row.why
    assert world.examples() == []


def test_a_second_person_who_agrees_teaches_nothing_twice(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.corrected("a1", PROMPT)
    second = world.verdict("a1", annotator="bob")
    assert correction(world, second.correction_id).refusal == "duplicate"
    assert len(world.examples()) == 1


def test_nobody_corrects_what_selection_did_not_show(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.answered("a1", PROMPT)
    with pytest.raises(NotOnTheDesk, match="what somebody went looking for"):
        world.verdict("a1")
    with pytest.raises(UnknownItem):
        world.verdict("nobody")
    assert world.facts() == []


def test_a_good_answer_becomes_an_example_with_the_model_s_words(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    done = world.corrected("a1", PROMPT, "good", ideal=None)
    assert [e.kind for e in world.examples()] == ["good"]
    assert correction(world, done.correction_id).ideal is None
    assert world.verdict("a1", "good", ideal='{"queue": "net"}\n').created is False
