"""Two annotators and a reviewer at a real Argilla, with gold items among theirs."""

import json
from pathlib import Path

import pytest

from services.annotation.desk_figures import desk_figures
from services.annotation.filling import fill
from services.annotation.gold import read_gold
from services.annotation.tables import GoldRow
from tests.real.argilla.conftest import DeskOf
from tests.real.argilla.desk_world import NET, POWER

pytestmark = [pytest.mark.real, pytest.mark.slow]

PHONES = '{"queue": "phones"}'


def test_two_who_agree_teach_and_a_reviewer_decides_where_they_do_not(desk_of: DeskOf) -> None:
    desk = desk_of(annotators=("ada", "bob"), reviewers=("rita",), desk={"answers_per_item": 2})
    desk.shown("a1", "a2")
    desk.says("ada", "a1", "fix", POWER)
    desk.says("bob", "a1", "fix", '{"queue":  "power"}')
    desk.says("ada", "a2", "fix", POWER)
    desk.turn()
    assert desk.standing() == {"a1": ("fix", POWER)}
    desk.says("bob", "a2", "good", NET)
    desk.turn()
    assert desk.standing() == {"a1": ("fix", POWER)}

    seen = desk.argilla.call("GET", "/me/datasets", key=desk.key("bob")).json()["items"]
    assert [dataset["name"] for dataset in seen if "review" in dataset["name"]] == []
    [(sample_id, record)] = desk.argilla.records(desk.dataset(review=True)).items()
    assert sample_id == "a2"
    assert "Annotator 1&#58; fix" in record["fields"]["opinions"]
    assert desk.username("ada") not in json.dumps(record)
    assert desk.says("rita", "a2", "fix", PHONES, review=True).status_code == 201
    desk.turn()
    assert desk.standing() == {"a1": ("fix", POWER), "a2": ("fix", PHONES)}
    assert {e.sample_id for e in desk.world.examples()} == {"a1", "a2"}
    with desk.world.session() as session:
        figures = desk_figures(session, "triage")
    assert figures.disputed == 0
    # fix, fix and fix, good: observed disagreement 2/4, expected 1 - 3*2/(4*3)
    assert figures.alpha == pytest.approx(1 - (2 / 4) / (1 - 6 / 12))
    desk.assert_equal_to_argilla()


def test_gold_items_score_annotators_and_nobody_can_tell_them_or_the_holdout_apart(
    desk_of: DeskOf, tmp_path: Path
) -> None:
    line = {"messages": [{"role": "user", "content": "Sparks!"}], "answer": NET, "verdict": "fix", "ideal": POWER}
    (tmp_path / "gold.jsonl").write_text(json.dumps(line))
    desk = desk_of(desk={"gold": str(tmp_path / "gold.jsonl"), "gold_share": 0.5})
    world = desk.world
    for split in ("train", "holdout"):
        prompts = world.prompts_in(split)
        for n in range(6):
            world.answered(f"{split[0]}{n}-5d0c-7b52-9a51-3f1c2d4e5f60", next(prompts), answer=NET)
    fill(world.engine, desk.desk, world.workloads, world.now, read_gold(world.workloads))
    gold = [row.item_id for row in world.rows(GoldRow)]
    records = desk.argilla.records(desk.dataset())
    assert len(records) == 12 + len(gold)
    assert {i[0] for i in records} >= {"t", "h"}
    for record in records.values():
        said = {**record, "external_id": "", "metadata": {**record["metadata"], "sample": ""}}
        assert "holdout" not in json.dumps(said)
        assert "gold" not in json.dumps(said)
        assert set(record["metadata"]) == {"version", "signal", "sample"}
    for number, item_id in enumerate(gold):
        desk.says("ada", item_id, "fix", POWER if number == 0 else PHONES)
    desk.turn()
    with world.session() as session:
        ada = desk_figures(session, "triage").annotators[desk.username("ada")]
    assert (ada.gold_answers, ada.gold_right_share) == (len(gold), pytest.approx(1 / len(gold)))
    assert desk.corrections() == []
