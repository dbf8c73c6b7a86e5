"""`ratchet drift` on files, as a person runs it: what it says, and the status it ends with."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.drift.drift_files import main

WORDS = ["order", "parcel", "refund", "invoice", "login", "update", "price", "crash", "courier", "late", "card"]


def answers(seed: int, n: int, longer: float = 1.0, refusals: float = 0.02) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    found = []
    for _ in range(n):
        said = " ".join(chance.choices(WORDS, k=max(1, int(longer * chance.lognormvariate(2.5, 0.4)))))
        found.append(
            {
                "prompt": f"What about {' and '.join(chance.sample(WORDS, 3))}?",
                "answer": said,
                "answer_tokens": len(said.split()),
                "refusal": chance.random() < refusals,
                "latency_seconds": chance.lognormvariate(-1, 0.3),
                "finish_reason": chance.choices(["stop", "length"], [95, 5])[0],
            }
        )
    return found


def file_of(folder: Path, name: str, lines: list[dict[str, Any]]) -> str:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return file_of(tmp_path_factory.mktemp("reference"), "reference", answers(1, 1500))


def test_more_of_the_same_is_ok_and_names_what_was_not_looked_at(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([reference, file_of(tmp_path, "now", answers(2, 1200))]) == 0
    said = capsys.readouterr().out
    assert said.startswith("ok\n")
    assert "not in either file: prompt_tokens, schema_valid" in said


def test_longer_answers_in_two_windows_are_drift_and_the_page_shows_it(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now, page = file_of(tmp_path, "now", answers(2, 1200, longer=1.5)), tmp_path / "drift.html"
    assert main([reference, now, "--json", f"--report={page}"]) == 1
    said = json.loads(capsys.readouterr().out)
    states = {signal["signal"]: signal["state"] for signal in said["signals"]}
    assert said["state"] == "drift"
    assert (states["answer_tokens"], states["latency_seconds"]) == ("drift", "ok")
    html = page.read_text("utf-8")
    assert "two windows in a row" in html
    assert html.count('<svg class="plot"') == len(said["signals"])
    assert not re.search(r'(?:src|href)="(?!data:)|<script|url\((?!#)', html)


def test_a_change_in_the_last_window_only_is_a_warning(reference: str, tmp_path: Path) -> None:
    now = [*answers(2, 600), *answers(3, 600, refusals=0.12)]
    assert main([reference, file_of(tmp_path, "now", now), "--signal=refusal"]) == 2


def test_too_few_answers_are_insufficient_data_and_one_window_says_that_it_is_one(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([reference, file_of(tmp_path, "now", answers(2, 90))]) == 2
    said = capsys.readouterr().out
    assert said.startswith("insufficient_data\n")
    assert "90 in the window; 500 are needed" in said
    assert "one window" in said


def test_a_page_that_cannot_be_written_is_told(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = file_of(tmp_path, "now", answers(2, 90))
    assert main([reference, now, f"--report={tmp_path}"]) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_hostile_names_are_escaped_on_the_page_and_in_the_terminal(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "<script>\x1b[2J"
    lines = [{**line, "finish_reason": hostile} for line in answers(2, 600)]
    page = tmp_path / "drift.html"
    assert main([reference, file_of(tmp_path, "now", lines), "--signal=finish_reason", f"--report={page}"]) == 2
    assert "\x1b" not in capsys.readouterr().out
    assert "<script>" not in page.read_text("utf-8")


def test_the_command_ends_with_3_for_bad_input_and_for_wrong_usage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"answer": "a"}\n{"answer": \n', encoding="utf-8")
    assert CliRunner().invoke(app, ["drift", str(broken), str(broken)]).exit_code == 3
    assert "broken.jsonl, line 2: is no JSON" in capfd.readouterr().err
    assert CliRunner().invoke(app, ["drift", str(broken)]).exit_code == 3
    assert CliRunner().invoke(app, ["drift", str(broken), str(broken), "--signal", "mood"]).exit_code == 3
