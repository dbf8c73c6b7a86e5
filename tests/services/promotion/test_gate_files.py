"""`ratchet gate`: two files in, a verdict and an exit status out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from services.promotion import gate_files

Write = Callable[[str, Iterable[Any]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, lines: Iterable[Any]) -> Path:
        file = tmp_path / name
        file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return file

    return written


def results(right: int, n: int = 300, **more: Any) -> list[dict[str, Any]]:
    return [{"item": f"item-{place}", "score": int(place < right), **more} for place in range(n)]


def gate(*arguments: object) -> int:
    return gate_files.main([str(argument) for argument in arguments])


def test_the_status_is_the_verdict(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    champion = write("champion.jsonl", results(150))
    assert gate(champion, write("better.jsonl", results(250))) == 0
    assert capsys.readouterr().out.startswith("PROMOTE\n- better on the holdout: 50.0% -> 83.3% over 300 prompt groups")
    assert gate(champion, write("same.jsonl", results(150))) == 1
    assert capsys.readouterr().out.startswith("REJECT\n- not shown to be better")
    assert gate(champion, write("other.jsonl", results(250)[1:])) == 2
    assert capsys.readouterr().out.startswith("INCONCLUSIVE\n- holdout: 1 item(s) were answered by one side only")


def test_json_holds_the_figures_the_guards_and_the_policy(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(write("a", results(150)), write("b", results(250)), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "PROMOTE"
    assert found["figures"]["paired"] == {"both": 150, "only_champion": 0, "only_candidate": 100, "neither": 50}
    assert found["policy"]["alpha"] == 0.01


def test_json_says_where_it_broke(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    champion = results(300)
    for place, result in enumerate(champion):
        result |= {
            "slice": "gift" if place >= 280 else "else",
            "prompt": f"{place} gift card" if place >= 280 else "hi",
        }
    candidate = [{**result, "score": int(place < 280)} for place, result in enumerate(champion)]
    assert gate(write("a", champion), write("b", candidate), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["contamination"] is None
    assert found["broke"]["items"] == [f"item-{place}" for place in range(280, 300)]
    assert [(s["slice"], s["broken"]) for s in found["broke"]["slices"]] == [("gift", 20)]
    assert [(w["words"], w["broken"], w["held"]) for w in found["broke"]["words"]] == [("gift card", 20, 0)]


def test_a_policy_file_sets_what_is_asked_for(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    files = write("a", results(150)), write("b", results(250))
    assert gate(*files, "--policy", write("policy.toml", ["floor = 0.5"])) == 1
    assert "at least +50.0 points" in capsys.readouterr().out
    assert gate(*files, "--policy", write("policy.toml", ["floor = 5", "apha = 0.1"])) == 3
    said = capsys.readouterr().err
    assert "floor: should be less than or equal to 1" in said
    assert "apha: Extra inputs are not permitted" in said


def test_a_general_suite_in_the_files_guards_against_forgetting(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    general = [{"item": f"g{n}", "score": 1, "suite": "general"} for n in range(200)]
    forgot = [{**line, "score": int(n > 50)} for n, line in enumerate(general)]
    assert gate(write("a", results(150) + general), write("b", results(250) + forgot)) == 1
    assert "forgot: general ability fell" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"item": "x"}', "line 2 has neither a score nor an error"),
        ('{"score": 1}', "line 2 is no result: Object missing required field `item`"),
        ('{"item": "x", "score": "high"}', "line 2 is no result"),
        ("[1]", "line 2 is no result: Expected `object`, got `array`"),
        ('{"item": "x", "score": ', "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is nested too deeply"),
        ('{"item": "x", "score": 1, "suite": "exam"}', "line 2 names the suite 'exam'"),
        ('{"item": "x", "score": 1' + "0" * 400 + "}", "line 2"),
        ("x" * 10_000_000, "line 2 is not JSON"),
    ],
)
def test_a_line_that_is_no_result_is_named(
    write: Write, capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    bad = write("bad.jsonl", [{"item": "a", "score": 1}, line])
    status = gate(bad, write("good.jsonl", results(3)))
    said = capsys.readouterr()
    if '"score": 1000' in line:
        assert status in (2, 3)  # a number out of range, or no number at all: never a verdict
        return
    assert status == 3
    assert f"bad.jsonl, {reason}" in said.err
    assert len(said.err) < 600


def test_blank_lines_do_not_shift_the_number(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(write("bad.jsonl", ["", {"item": "a", "score": 1}, "", {"item": "b"}]), write("b", results(3))) == 3
    assert "bad.jsonl, line 4 has neither a score nor an error" in capsys.readouterr().err


def test_what_is_not_utf_8_is_named_with_its_line(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"item": "a", "score": 1}\n{"item": "\xff\xfe", "score": 1}\n')
    assert gate(file, write("b", results(3))) == 3
    assert "bad.jsonl, line 2 is not UTF-8: invalid start byte at byte 11" in capsys.readouterr().err


def test_empty_missing_and_unreadable_files_are_unusable(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write("good", results(3))
    assert gate(write("empty", []), good) == 3
    assert "empty holds no result" in capsys.readouterr().err
    assert gate(good, tmp_path / "missing") == 3
    assert "No such file" in capsys.readouterr().err
    assert gate(good, tmp_path) == 3
    assert gate(good) == 3
    assert "the following arguments are required: candidate" in capsys.readouterr().err


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity", "1.5", "-0.1", "null"])
def test_a_score_that_is_no_share_is_inconclusive(write: Write, capsys: pytest.CaptureFixture[str], score: str) -> None:
    spoiled = [*results(250)[:-1], f'{{"item": "item-299", "score": {score}}}']
    assert gate(write("a", results(150)), write("b", spoiled)) == 2
    said = capsys.readouterr().out
    assert "no number from 0 to 1" in said
    assert "'item-299'" in said


def test_one_item_a_double_one_and_all_ties_never_promote(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(write("a", results(0, 1)), write("b", results(1, 1))) == 2
    assert "too few prompt groups in the holdout: 1," in capsys.readouterr().out
    assert gate(write("a", results(150)), write("b", results(250) + results(1, 1))) == 2
    assert "listed twice, such as 'item-0'" in capsys.readouterr().out
    assert gate(write("a", results(300)), write("b", results(300))) == 1
    assert "gain +0.0 points (95 % interval -1.3 to +1.3)" in capsys.readouterr().out


def test_an_errored_item_is_wrong_and_many_are_inconclusive(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    failed = [{"item": f"item-{n}", "error": "timeout"} for n in range(300)]
    assert gate(write("a", results(300)), write("b", failed[:3] + results(300)[3:])) == 1
    assert "100.0% -> 99.0%" in capsys.readouterr().out
    assert gate(write("a", results(150)), write("b", failed[:7] + results(300)[7:])) == 2
    assert "7 of 300 items of the candidate ended in an error" in capsys.readouterr().out


def test_a_long_line_is_read(write: Write) -> None:
    long = [{**line, "prompt": "x" * 10_000_000} if n == 7 else line for n, line in enumerate(results(250))]
    assert gate(write("a", results(150)), write("b", long)) == 0


def test_an_item_that_would_move_the_cursor_is_shown_as_text(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    evil = {"item": "\x1b[2Jgone", "score": 1}
    assert gate(write("a", results(150)), write("b", [*results(250), evil])) == 2
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "[2Jgone" in said


def test_a_fault_of_the_program_is_no_verdict(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(gate_files, "judge", broken)
    assert gate(write("a", results(3)), write("b", results(3))) == 70


def test_ratchet_gate_needs_no_setting_and_passes_the_status_on(write: Write, tmp_path: Path) -> None:
    champion, better = write("a.jsonl", results(150)), write("b.jsonl", results(250))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RATCHET_")}
    for arguments, status in (
        ([champion, better, "--json"], 0),
        ([better, champion], 1),
        ([champion], 3),
        ([champion, better, "--polcy", "x"], 3),
    ):
        command = [sys.executable, "-m", "services.cli", "gate", *map(str, arguments)]
        ended = subprocess.run(
            command, capture_output=True, env=environment, cwd=Path(__file__).parents[3], check=False
        )
        assert ended.returncode == status, ended.stderr
