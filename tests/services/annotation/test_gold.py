import json
from pathlib import Path

import pytest

from services.annotation.app import build_app
from services.annotation.desk import Source, Verdict
from services.annotation.desk_figures import desk_figures
from services.annotation.filling import collect, fill
from services.annotation.gold import read_gold
from services.annotation.settings import AnnotationSettings
from services.annotation.tables import CorrectionRow, GoldRow
from shared.errors import BadConfig, Unavailable
from shared.ids import uuid7
from shared.settings import SharedSettings
from tests.services.annotation.annotation_world import SCHEMA, World, a_workload
from tests.services.annotation.test_filling import FarDesk

pytestmark = pytest.mark.usefixtures("database")

LINES = [
    {"messages": [{"role": "user", "content": "No dial tone."}], "answer": '{"queue": "net"}', "verdict": "good"},
    {
        "messages": [{"role": "user", "content": "Sparks!"}],
        "answer": '{"queue": "net"}',
        "verdict": "fix",
        "ideal": '{"queue": "power"}',
    },
]


def golden(folder: Path, lines: list[object] = LINES) -> World:
    (folder / "gold.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    desk = {"gold": str(folder / "gold.jsonl"), "gold_share": 0.5}
    return World.in_folder(folder, triage=a_workload(answer_schema=SCHEMA, desk=desk))


def shown(world: World, desk: FarDesk, count: int = 20) -> None:
    prompts = world.prompts_in("train")
    for _ in range(count):
        world.answered(uuid7(), next(prompts))
    fill(world.engine, desk, world.workloads, world.now, read_gold(world.workloads))


def test_gold_items_are_among_the_others_and_look_like_them(tmp_path: Path) -> None:
    world, desk = golden(tmp_path), FarDesk()
    shown(world, desk)
    gold = {row.item_id for row in world.rows(GoldRow)}
    assert 3 <= len(gold) <= 17
    assert len(desk.items) == 20 + len(gold)
    lengths = {len(item_id) for item_id in desk.items}
    versions = {item_id[14] for item_id in desk.items}
    assert (lengths, versions) == ({36}, {"7"})
    assert {desk.items[i].signal for i in gold} <= {item.signal for i, item in desk.items.items() if i not in gold}
    assert {row.gold_id for row in world.rows(GoldRow)} == {g.gold_id for g in read_gold(world.workloads)["triage"]}


def test_a_repeated_push_repeats_the_same_gold_items(tmp_path: Path) -> None:
    world, desk = golden(tmp_path), FarDesk()
    desk.away = True
    with pytest.raises(Unavailable):
        shown(world, desk)
    before = {row.item_id: row.gold_id for row in world.rows(GoldRow)}
    desk.away = False
    fill(world.engine, desk, world.workloads, world.now, read_gold(world.workloads))
    assert {row.item_id: row.gold_id for row in world.rows(GoldRow)} == before
    assert before.keys() <= desk.items.keys()


def test_gold_answers_score_the_annotator_and_teach_nobody(tmp_path: Path) -> None:
    world, desk = golden(tmp_path), FarDesk()
    shown(world, desk)
    for number, row in enumerate(world.rows(GoldRow)):
        for annotator, verdict, ideal in (("ada", row.label, row.ideal), ("bob", "discard", None)):
            source = Source(f"r{number}-{annotator}", "t1")
            desk.given.append(
                Verdict(row.item_id, verdict, ideal, frozenset(), annotator, None, source)  # type: ignore[arg-type]
            )
    collect(world.engine, desk, world.workloads, world.now, "annotation")
    with world.session() as session:
        found = desk_figures(session, "triage").annotators
    assert (found["ada"].gold_right_share, found["bob"].gold_right_share) == (1.0, 0.0)
    assert world.rows(CorrectionRow) == []
    assert world.examples() == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([LINES[0], {"answer": "x"}], "line 2: messages Field required"),
        ([{**LINES[0], "verdict": "fix"}], 'line 1: Value error, give an ideal with the verdict "fix"'),
        ([], "has no line"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, lines: list[object], said: str) -> None:
    with pytest.raises(BadConfig, match=r"gold\.jsonl") as refusal:
        read_gold(golden(tmp_path, lines).workloads)
    assert said in str(refusal.value)


def test_the_service_does_not_start_on_a_broken_file_even_where_the_desk_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "gold.jsonl").write_text('{"messages": []\n')
    (tmp_path / "ratchet.toml").write_text(
        '[models.tiny]\npath = "builtin:tiny"\n[workloads.triage]\nbase = "tiny"\ndesk = {gold = "gold.jsonl"}\n'
    )
    settings = SharedSettings(config=tmp_path / "ratchet.toml", data_dir=tmp_path)
    with pytest.raises(BadConfig, match=r"workloads\.triage\.desk\.gold: .*gold\.jsonl, line 1: .*\nA line of such"):
        build_app(settings, AnnotationSettings())


def test_a_character_that_looks_like_an_end_of_line_ends_none(tmp_path: Path) -> None:
    line = {**LINES[0], "messages": [{"role": "user", "content": "one\u2028two"}]}
    world = golden(tmp_path)
    (tmp_path / "gold.jsonl").write_text(json.dumps(line, ensure_ascii=False), "utf-8")
    (gold,) = read_gold(world.workloads)["triage"]
    assert gold.messages[0].content == "one\u2028two"
