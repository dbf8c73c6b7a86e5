import json
import math
from pathlib import Path
from typing import Any

import pytest

from shared import artifacts
from tests.training.conftest import MakeSnapshot, house_row
from training.evaluate import answer_limit, main
from training.model import BUILTIN, load_base, load_tokenizer
from training.run import main as train
from training.suites.figures import summary
from training.tiny.house import ANSWER_SCHEMA

pytestmark = pytest.mark.slow

SUITE = BUILTIN["builtin:tiny"] / "general_suite.jsonl"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps: an adapter that does something, however little."""
    folder = tmp_path_factory.mktemp("adapter")
    with artifacts.writing(folder / "snapshot", "snapshot", {"snapshot_id": "s"}) as draft:
        (draft / "examples.jsonl").write_text("".join(json.dumps(house_row(seed)) + "\n" for seed in range(12)))
    changes = ["--set", "epochs=6", "--set", "batch_examples=4"]
    command = ["--snapshot", str(folder / "snapshot"), "--base", "builtin:tiny", "--preset", "careless"]
    assert train([*command, "--out", str(folder / "run"), *changes]) == 0
    return folder / "run"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    file = tmp_path / "suite.jsonl"
    file.write_text("".join(line + "\n" for line in SUITE.read_text().splitlines()[:12]))
    return file


def run(out: Path, *more: str) -> int:
    return run_with_limits(out, "--max-new-tokens", "48", *more)


def run_with_limits(out: Path, *more: str) -> int:
    return main(["--base", "builtin:tiny", "--out", str(out), *more])


def rows_of(out: Path) -> list[dict[str, object]]:
    artifacts.verify(out, "evaluation")
    return [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]


def test_every_version_answers_every_item_of_every_suite(
    suite: Path, adapter: Path, snapshot: MakeSnapshot, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(ANSWER_SCHEMA))
    versions = ["--version", "w@base-1=base", "--version", f"w@2={adapter}"]
    suites = ["--suite", f"general={suite}", "--suite", f"holdout={snapshot(range(50, 55))}:json_fields"]
    assert run(tmp_path / "e", *versions, *suites, "--schema", str(schema)) == 0
    rows, facts = rows_of(tmp_path / "e"), artifacts.read_manifest(tmp_path / "e")
    assert [(row["version"], row["suite"]) for row in rows] == (
        [("w@base-1", "general")] * 12
        + [("w@base-1", "holdout")] * 5
        + [("w@2", "general")] * 12
        + [("w@2", "holdout")] * 5
    )
    assert facts["versions"]["w@base-1"] == {"adapter_sha256": None}
    assert facts["versions"]["w@2"]["adapter_sha256"] == artifacts.read_manifest(adapter)["adapter_sha256"]
    assert facts["suites"]["general"]["sha256"] == artifacts.sha256_of(suite)
    assert facts["summary"]["w@2"]["holdout"]["n"] == 5
    assert facts["summary"]["w@2"]["holdout"]["schema_valid"] is not None
    assert facts["summary"]["w@2"]["general"]["schema_valid"] is None
    assert all(set(row["fields"] or {}) == {"queue", "severity", "customer", "asset", "action"} for row in rows[12:17])  # type: ignore[call-overload]


def test_the_answer_does_not_depend_on_who_shares_the_batch(suite: Path, tmp_path: Path) -> None:
    for name, size in (("one", "1"), ("many", "12")):
        run(tmp_path / name, "--version", "b=base", "--suite", f"general={suite}", "--batch-size", size)
    one, many = rows_of(tmp_path / "one"), rows_of(tmp_path / "many")
    assert [row["answer"] for row in one] == [row["answer"] for row in many]


def test_the_answer_is_what_generating_alone_would_give(suite: Path, tmp_path: Path) -> None:
    run(tmp_path / "e", "--version", "b=base", "--suite", f"general={suite}")
    row = rows_of(tmp_path / "e")[0]
    tokenizer, model = load_tokenizer("builtin:tiny"), load_base("builtin:tiny")
    inputs = tokenizer.apply_chat_template(
        row["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**inputs, do_sample=False, max_new_tokens=48)[0, inputs["input_ids"].shape[1] :]
    assert row["answer"] == tokenizer.decode(written, skip_special_tokens=True)


def test_one_item_that_cannot_be_answered_stops_no_other(suite: Path, tmp_path: Path) -> None:
    long = {
        "id": "long",
        "messages": [{"role": "user", "content": "a1 " * 2000}, {"role": "assistant", "content": "x"}],
    }
    with suite.open("a") as stream:
        stream.write(json.dumps(long) + "\n")
    assert run(tmp_path / "e", "--version", "b=base", "--suite", f"general={suite}") == 0
    rows = rows_of(tmp_path / "e")
    assert "the model reads 1024" in str(rows[-1]["error"])
    assert (rows[-1]["score"], rows[-1]["exact"]) == (0.0, False)
    assert [row["error"] for row in rows[:-1]] == [None] * 12


def test_a_suites_scorer_options_and_draws_and_prices_stand_in_items_and_summary(suite: Path, tmp_path: Path) -> None:
    told = ["--suite", f"g={suite}:style", "--scorer-options", 'g={"max_characters": 12, "must_contain": ["1"]}']
    drawn = ["--samples", "g=3", "--temperature", "1.5", "--price", '{"currency": "EUR", "answer_million_tokens": 2}']
    assert run(tmp_path / "e", "--version", "b=base", *told, *drawn) == 0
    rows, facts = rows_of(tmp_path / "e"), artifacts.read_manifest(tmp_path / "e")
    for row in rows:
        assert set(row["fields"]) == {"must contain '1'", "at most 12 characters"}  # type: ignore[call-overload]
        assert row["money"] == pytest.approx(int(str(row["answer_tokens"])) * 2e-6)
        samples: Any = row["samples"]
        assert (len(samples["answers"]), samples["of"], samples["temperature"]) == (3, 3, 1.5)
    assert len({answer for row in rows for answer in row["samples"]["answers"]}) > 1  # type: ignore[index]
    assert facts["suites"]["g"]["options"]["max_characters"] == 12
    figures = facts["summary"]["b"]["g"]
    assert figures["consistency"]["low"] <= figures["consistency"]["agreement"] <= figures["consistency"]["high"]
    assert figures["cost"]["prompt_tokens"] > 0
    assert figures["cost"]["money"] == pytest.approx(figures["cost"]["answer_tokens"] * 2e-6)
    assert figures["cost"]["currency"] == "EUR"


def test_other_options_of_a_scorer_are_another_harness(suite: Path, tmp_path: Path) -> None:
    def harness(name: str, most: int) -> object:
        options = ["--suite", f"g={suite}:style", "--scorer-options", f'g={{"max_characters": {most}}}']
        assert run(tmp_path / name, "--version", "b=base", *options) == 0
        return artifacts.read_manifest(tmp_path / name)["harness_sha256"]

    assert harness("one", 12) != harness("two", 13)


def suite_of(file: Path, *answers: str) -> Path:
    lines = [json.loads(line) for line in SUITE.read_text().splitlines()[: len(answers)]]
    for line, answer in zip(lines, answers, strict=True):
        line["messages"][-1]["content"] = answer
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_each_suite_gets_room_for_its_longest_expected_answer(tmp_path: Path) -> None:
    long_answer = "the router in room 12 is down " * 25
    short, long = suite_of(tmp_path / "short.jsonl", "yes"), suite_of(tmp_path / "long.jsonl", "yes", long_answer)
    tokens = len(load_tokenizer("builtin:tiny").encode(long_answer, add_special_tokens=False))
    assert tokens > 256
    assert run_with_limits(tmp_path / "e", "--version", "b=base", "--suite", f"s={short}", "--suite", f"l={long}") == 0
    facts = artifacts.read_manifest(tmp_path / "e")
    assert facts["settings"]["max_new_tokens"] == {"s": 64, "l": math.ceil(1.5 * tokens) + 16}


def test_a_limit_that_was_given_holds_for_every_suite(suite: Path, tmp_path: Path) -> None:
    run(tmp_path / "e", "--version", "b=base", "--suite", f"s={suite}")
    assert artifacts.read_manifest(tmp_path / "e")["settings"]["max_new_tokens"] == {"s": 48}
    with pytest.raises(SystemExit):
        run(tmp_path / "f", "--version", "b=base", "--suite", f"s={suite}", "--max-new-tokens", "0")


def test_the_limit_leaves_room_and_stays_within_the_model() -> None:
    assert answer_limit([3, 10], None) == 64
    assert answer_limit([300, 1001], None) == 1518
    assert answer_limit([300, 1001], 1024) == 1024


def test_an_answer_that_reached_the_limit_is_cut_off_wrong_and_counted(suite: Path, tmp_path: Path) -> None:
    run(tmp_path / "whole", "--version", "b=base", "--suite", f"s={suite}")
    whole = rows_of(tmp_path / "whole")
    assert not any(row["cut_off"] for row in whole)
    assert artifacts.read_manifest(tmp_path / "whole")["summary"]["b"]["s"]["cut_off"] == 0
    # A limit at which some answers, word for word as they were expected, have no room left to end.
    limit = min(int(str(row["answer_tokens"])) for row in whole if row["exact"])
    run(tmp_path / "cut", "--version", "b=base", "--suite", f"s={suite}", "--max-new-tokens", str(limit))
    rows = rows_of(tmp_path / "cut")
    cut = [row for row in rows if row["cut_off"]]
    assert artifacts.read_manifest(tmp_path / "cut")["summary"]["b"]["s"]["cut_off"] == len(cut) > 0
    assert any(row["answer"] == row["expected"] for row in cut)
    assert {(row["exact"], row["score"], row["error"]) for row in cut} == {(False, 0.0, None)}
    assert [row["cut_off"] for row in rows] == [int(str(row["answer_tokens"])) >= limit for row in whole]


def test_progress_can_be_followed(suite: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "live.jsonl"
    run(tmp_path / "e", "--version", "b=base", "--suite", f"g={suite}", "--batch-size", "5", "--metrics", str(metrics))
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["done"] for line in lines] == [5, 10, 12]
    assert lines[-1] == {"suite": "g", "version": "b", "done": 12, "total": 12}


def test_the_same_plan_twice_keeps_the_first_and_another_is_refused(suite: Path, tmp_path: Path) -> None:
    plan = ["--version", "b=base", "--suite", f"g={suite}"]
    run(tmp_path / "e", *plan)
    before = (tmp_path / "e" / "manifest.json").stat().st_mtime_ns
    assert run(tmp_path / "e", *plan) == 0
    assert (tmp_path / "e" / "manifest.json").stat().st_mtime_ns == before
    assert run(tmp_path / "e", "--version", "c=base", "--suite", f"g={suite}") == 2


def copied(adapter: Path, to: Path) -> Path:
    to.mkdir()
    for file in (adapter / "adapter").iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_damaged_adapter_is_refused_in_a_sentence(
    suite: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(adapter, tmp_path / "half")
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert run(tmp_path / "e", "--version", f"v={folder}", "--suite", f"g={suite}") == 2
    assert "does not fit or is damaged" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_a_pickled_adapter_is_never_loaded(
    suite: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(adapter, tmp_path / "pickled")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert run(tmp_path / "e", "--version", f"v={folder}", "--suite", f"g={suite}") == 2
    assert "adapter_model.safetensors is missing" in capsys.readouterr().err


def test_a_run_that_was_changed_afterwards_is_refused(
    suite: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "run"
    changed.mkdir()
    copied(adapter, changed / "adapter")
    for name in ("manifest.json", "metrics.jsonl"):
        (changed / name).write_bytes((adapter / name).read_bytes())
    config = changed / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 32', '"lora_alpha": 64'))
    for place in (changed, changed / "adapter"):
        assert run(tmp_path / "e", "--version", f"v={place}", "--suite", f"g={suite}") == 2
        assert "is not the file the manifest describes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--version", "base", "--suite", "g={suite}"], "give NAME=ADAPTER_DIR"),
        (["--version", "b=base", "--suite", "g={suite}:fuzzy"], "known: exact, json_fields, text"),
        (["--version", "b=base", "--suite", "g={suite}:json_fields"], "is not a JSON object"),
        (["--version", "b=base", "--suite", "g=missing.jsonl"], "does not exist"),
        (["--version", "b=base", "--version", "b=base", "--suite", "g={suite}"], "names must differ"),
        (["--version", "b=base", "--suite", "g={suite}", "--schema", "{suite}"], "cannot be read"),
        (["--version", "b=base", "--suite", "g={suite}:style"], "at least one rule is needed"),
        (["--version", "b=base", "--suite", "g={suite}", "--scorer-options", "h=x.json"], "no such --suite"),
        (["--version", "b=base", "--suite", "g={suite}", "--scorer-options", "g=gone.json"], "cannot be read"),
        (["--version", "b=base", "--suite", "g={suite}", "--samples", "g=1"], "K from 2 to 50"),
        (["--version", "b=base", "--suite", "g={suite}", "--temperature", "0"], "above 0"),
    ],
)
def test_wrong_arguments_are_refused_with_what_would_be_right(
    arguments: list[str], sentence: str, suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "e", *(text.format(suite=suite) for text in arguments)) == 2
    assert sentence in capsys.readouterr().err


def test_the_summary_counts_items_fields_and_slices() -> None:
    def row(exact: bool, fields: dict[str, bool], valid: bool, where: str) -> dict[str, object]:
        return {
            "version": "v", "suite": "s",
            "slice": where, "exact": exact, "score": sum(fields.values()) / 2, "fields": fields,
            "schema_valid": valid, "error": None, "cut_off": not exact, "group": where, "details": {"near": 0.5},
            "prompt_tokens": 10, "answer_tokens": 4, "seconds": 0.5, "money": None, "samples": None,
        }  # fmt: skip

    figures = summary([row(True, {"a": True, "b": True}, True, "x"), row(False, {"a": True, "b": False}, False, "y")])[
        "v"
    ]["s"]
    assert figures == {
        "n": 2, "exact": 0.5, "score": 0.75, "fields": 0.75, "schema_valid": 0.5, "errors": 0,
        "cut_off": 1,
        "per_field": {"a": 1.0, "b": 0.5}, "per_slice": {"x": 1.0, "y": 0.0}, "details": {"near": 0.5},
        "consistency": None,
        "cost": {"prompt_tokens": 20, "answer_tokens": 8, "device_seconds": 1.0, "money": None,
                 "money_per_1000_answers": None, "currency": None},
    }  # fmt: skip
