import json
from pathlib import Path

import pytest

from services.annotation.tables import FeedbackRow, GroupRow
from shared.errors import Unusable
from shared.events import AnswerServed
from tests.services.annotation.annotation_world import SCHEMA, World, a_question, a_workload

pytestmark = pytest.mark.usefixtures("database")


def quiet_world(folder: Path, **changes: object) -> World:
    """Nothing is audited: a training sample needs a signal."""
    return World.in_folder(folder, triage=a_workload(selection={"audit_share": 0.0, "daily_budget": 1000}, **changes))


def test_an_answer_is_stored_once_however_often_it_comes(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    first = world.answered("a1", "router down")
    again = world.answered("a1", "router down", answer="something else")
    assert again.answer == first.answer
    assert [row.samples for row in world.rows(GroupRow)] == [1]


def test_the_sample_keeps_the_messages_as_the_model_saw_them(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Triage.", "name": "x"}, {"role": "user", "content": "Größe \u0000 ok?"}]
    stored = World.in_folder(tmp_path).answered("a1", "", messages=messages)
    assert json.loads(stored.messages) == messages


def test_feedback_before_its_answer_waits_for_it(tmp_path: Path) -> None:
    world = quiet_world(tmp_path)
    world.disliked("a1")
    sample = world.answered("a1", world.prompt_in("train"))
    assert (json.loads(sample.signals), sample.state) == (["negative_feedback"], "nominated")


def test_late_feedback_nominates_a_sample_stored_before(tmp_path: Path) -> None:
    world = quiet_world(tmp_path)
    assert world.answered("a1", world.prompt_in("train")).state == "stored"
    world.disliked("a1")
    assert world.sample("a1").state == "nominated"


def test_late_feedback_moves_an_audited_sample_forward(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    before = world.answered("a1", world.prompt_in("train")).place
    world.disliked("a1")
    after = world.sample("a1").place
    assert before is not None
    assert after is not None
    assert after < 0.25 < before


def test_feedback_never_moves_a_holdout_sample(tmp_path: Path) -> None:
    world = quiet_world(tmp_path)
    before = world.answered("a1", world.prompt_in("holdout"))
    world.disliked("a1")
    after = world.sample("a1")
    assert (before.place, before.state) == (after.place, after.state)
    assert after.signals == '["negative_feedback"]'


def test_the_same_feedback_twice_is_kept_once(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    world.disliked("a1")
    world.disliked("a1")
    assert len(world.rows(FeedbackRow)) == 1


def test_an_answer_the_client_left_is_stored_but_not_nominated(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    assert world.answered("a1", "router down", client_abort=True).state == "stored"
    assert world.answered("a2", "switch down", finish_reason="error").state == "stored"
    world.disliked("a1")
    assert world.sample("a1").state == "stored"


def test_an_answer_that_breaks_its_schema_stands_out(tmp_path: Path) -> None:
    world = quiet_world(tmp_path, answer_schema=SCHEMA)
    prompts = world.prompts_in("train")
    assert world.answered("a1", next(prompts), answer="plain words").signals == '["schema_invalid"]'
    assert world.answered("a2", next(prompts), answer='{"queue": "net"}').signals == "[]"


def test_an_answer_of_an_undeclared_workload_is_unusable(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    with pytest.raises(Unusable, match=r"'other' is not declared in ratchet\.toml; declared: triage"):
        world.hears(AnswerServed(answer_id="a1", workload="other", version="v", messages=[], answer=""))


def test_a_request_without_messages_or_with_strange_ones_is_stored(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    strange = [{"role": "user", "content": [{"type": "image_url"}, {"text": 3}, "x"]}, {"content": None}, {"role": 7}]
    assert world.answered("a1", "", messages=[]).answer_id == "a1"
    assert world.answered("a2", "", messages=strange).answer_id == "a2"


def test_a_group_stays_on_its_side_when_the_share_changes(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path)
    before = {n: world.answered(f"a{n}", a_question(n)).split for n in range(20)}
    world.workloads = {"triage": a_workload(gate={"holdout_share": 0.01, "min_groups": 20})}
    after = {n: world.answered(f"b{n}", a_question(n).upper()).split for n in range(20)}
    assert before == after
    assert set(before.values()) == {"train", "holdout"}
