import json
from pathlib import Path
from typing import Any

import pytest

from services.promotion.evaluation_reading import another_adapter, find_leakage, read_evaluation, strangers
from shared.artifacts import uri_of, writing
from shared.errors import ArtifactInvalid, Unusable

SCHEMA = {"type": "object", "required": ["queue"]}


def sealed(folder: Path, lines: list[dict[str, Any]] | str, **facts: Any) -> str:
    with writing(folder / "evaluation", "evaluation", facts) as draft:
        text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        (draft / "items.jsonl").write_text(text)
    return uri_of(folder / "evaluation")


def snapshot(folder: Path, ids: dict[str, str]) -> str:
    with writing(folder, "snapshot", {}) as draft:
        (draft / "examples.jsonl").write_text("".join(json.dumps({"id": i, "group": g}) + "\n" for i, g in ids.items()))
    return uri_of(folder)


def line(item: str = "i1", **changes: Any) -> dict[str, Any]:
    facts = {"version": "t@a", "suite": "holdout", "item": item, "group": f"g-{item}", "score": 1.0, "exact": True}
    return {**facts, **changes}


def test_sides_are_read_by_version_and_suite(tmp_path: Path) -> None:
    lines = [line(), line(suite="general"), line(version="t@b", score=0.5, exact=False, schema_valid=False)]
    read = read_evaluation(sealed(tmp_path, lines, harness_sha256="h"))
    assert [i.item for i in read.side("t@a").general] == ["i1"]
    judged = read.side("t@b").holdout[0]
    assert (judged.score, judged.schema_valid) == (0.0, False), "half a record is a wrong record"
    assert read.side("t@c").holdout == ()


def test_an_answer_that_was_cut_off_is_read_as_such(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line("i1"), line("i2", cut_off=True)]))
    assert [i.cut_off for i in read.side("t@a").holdout] == [False, True]


def test_where_the_scorer_says_nothing_the_answer_is_held_against_the_schema(tmp_path: Path) -> None:
    answers = ['{"queue": 1}', "{}", "no json", None]
    lines = [line(f"i{n}", answer=answer) for n, answer in enumerate(answers)]
    read = read_evaluation(sealed(tmp_path, [*lines, line("i9", answer="{}", schema_valid=True)]), SCHEMA)
    assert [i.schema_valid for i in read.side("t@a").holdout] == [True, False, False, False, True]


def test_numbers_are_passed_on_as_they_are(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line(score=float("nan"))]))
    score = read.side("t@a").holdout[0].score
    assert score is not None
    assert score != score


@pytest.mark.parametrize(
    "text",
    ["{", '{"version": 1}', "[]", "[" * 100_000, '{"version": "t@a", "suite": "holdout", "item": "i", "group": "g"}'],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    uri = sealed(tmp_path, json.dumps(line()) + "\n" + text + "\n")
    with pytest.raises(Unusable, match=r"items\.jsonl, line 2"):
        read_evaluation(uri)


def test_a_missing_folder_and_one_of_another_kind_are_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid):
        read_evaluation(str(tmp_path / "nowhere"))
    with pytest.raises(ArtifactInvalid, match="not a evaluation"):
        read_evaluation(snapshot(tmp_path / "s", {}))
    with pytest.raises(ArtifactInvalid):
        read_evaluation("s3://bucket/evaluation")


def test_the_items_must_be_those_of_the_holdout(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line("i1"), line("i2")]))
    assert strangers(read, "t@a", snapshot(tmp_path / "same", {"i1": "g", "i2": "g"})) is None
    found = strangers(read, "t@a", snapshot(tmp_path / "other", {"i1": "g", "i3": "g"}))
    assert found is not None
    assert "1 of its items are missing and 1 do not belong" in found


def test_the_adapter_that_was_measured_must_be_the_registered_one(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line()], versions={"t@a": {"adapter_sha256": "aa"}}))
    assert another_adapter(read, "t@a", "aa") is None
    assert "another adapter" in (another_adapter(read, "t@a", "bb") or "")
    assert "does not say" in (another_adapter(read, "t@b", None) or "")


def test_leaks_are_found_by_group_and_by_example(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line("i1"), line("i2"), line("i3", version="t@b")]))
    clean = find_leakage(read, "t@a", "t@b", snapshot(tmp_path / "clean", {"x": "g-x"}))
    assert (clean.groups, clean.examples) == (frozenset(), frozenset())
    leaky = find_leakage(read, "t@a", "t@b", snapshot(tmp_path / "leaky", {"x": "g-i2", "i3": "g-y"}))
    assert (leaky.groups, leaky.examples) == (frozenset({"g-i2"}), frozenset({"i3"}))


STORY = (
    "the crane at berth seven stopped while it was lifting a container of frozen fish and the driver heard two bangs"
)


def told(folder: Path, name: str, text: str) -> str:
    example = {"id": name, "group": f"g-{name}", "messages": [{"role": "user", "content": text}]}
    with writing(folder, "snapshot", {}) as draft:
        (draft / "examples.jsonl").write_text(json.dumps(example) + "\n")
    return uri_of(folder)


def test_leaks_are_found_by_text_in_the_candidates_snapshot_and_in_its_ancestrys(tmp_path: Path) -> None:
    asked = line("i1", messages=[{"role": "user", "content": STORY}], expected="berth 7")
    read = read_evaluation(sealed(tmp_path, [asked]))
    clean, leaky = (told(tmp_path / n, n, t) for n, t in (("clean", "a word of thanks"), ("leaky", f"Hi! {STORY}")))
    assert find_leakage(read, "t@a", "t@b", clean).overlaps == ()
    for found in (find_leakage(read, "t@a", "t@b", leaky), find_leakage(read, "t@a", "t@b", clean, {"t@a": leaky})):
        assert [(o.kind, o.item, o.example) for o in found.overlaps] == [("13-gram", "i1", "leaky")]
    assert (found.searched, found.versions, found.unsearched) == (2, ("t@b", "t@a"), ())


def test_an_ancestors_snapshot_that_is_gone_is_named_and_the_candidates_own_is_needed(tmp_path: Path) -> None:
    read = read_evaluation(sealed(tmp_path, [line()]))
    gone = str(tmp_path / "gone")
    found = find_leakage(read, "t@a", "t@b", snapshot(tmp_path / "own", {"x": "g"}), {"t@a": gone})
    assert (found.versions, found.unsearched) == (("t@b",), ("t@a",))
    with pytest.raises(ArtifactInvalid):
        find_leakage(read, "t@a", "t@b", gone)
