"""Captured text is shown on the operator's terminal, never obeyed by it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from services.cli import __main__ as cli
from services.cli.lineage import Step, drawn
from services.cli.plain import cell
from services.cli.status import show
from shared.plain import as_json, shown

HOSTILE = "\x1b]0;owned\x07\x1b[2Jhello\x9b31m\rgone \u202elive [bold]\u2066\ud83d"
SEEN = r"\x1b]0;owned\x07\x1b[2Jhello\x9b31m\x0dgone \u202elive [bold]\u2066\ud83d"


def obeyed(text: str) -> list[str]:
    return [c for c in text if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066\ud83d"]


class Asked:
    """Answers every call with the same captured text, under every name a page reads."""

    def __init__(self, answer: dict[str, object]) -> None:
        self._answer = answer

    def get(self, _path: str, **_params: object) -> dict[str, object]:
        return self._answer


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert shown(HOSTILE) == SEEN
    assert shown("two\nlines\tand 日本語 ü \U0001f600") == "two\nlines\tand 日本語 ü \U0001f600"
    assert shown(None) == ""


@given(st.text(st.characters(), max_size=60))
def test_json_for_programs_holds_nothing_obeyed_and_reads_back_the_same(text: str) -> None:
    printed = as_json({text: [text]})
    assert not obeyed(printed)
    assert json.loads(printed) == {text: [text]}


def test_a_cell_keeps_brackets_and_shows_controls(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("what")
    table.add_row(cell(HOSTILE))
    Console(width=200, force_terminal=False).print(table)
    assert SEEN in capsys.readouterr().out


@pytest.mark.parametrize("command", ["knowledge", "jobs", "models"])
@pytest.mark.parametrize("as_json_too", [False, True])
def test_no_page_hands_captured_text_to_the_terminal(
    command: str, as_json_too: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ("found_at", "workload", "prompt", "ideal", "annotator", "job_id", "kind", "state", "why", "error")
    row = dict.fromkeys((*keys, "version", "stage", "verdict", "preset", "created_at"), HOSTILE)
    rows = [{**row, "reasons": [HOSTILE], "progress": None}]
    monkeypatch.setattr(cli, "_caller", lambda _service: Asked({"gaps": rows, "jobs": rows, "models": rows}))
    monkeypatch.setattr(cli, "out", Console(width=1200))
    getattr(cli, command)(workload=None, as_json=as_json_too)
    printed = capsys.readouterr().out
    assert "hello" in printed
    assert not obeyed(printed)


def test_dead_letters_are_shown_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = {"consumer": "a", "topic": "t", "partition": 0, "offset": 7, "reason": HOSTILE, "value": HOSTILE}
    monkeypatch.setattr("services.cli.dead_letters.read_dead_letters", lambda _bus: [letter])
    monkeypatch.setattr(cli, "out", Console(width=600))
    cli.dead_letters(as_json=False, most=20)
    printed = capsys.readouterr().out
    assert printed.count("hello") == 2
    assert not obeyed(printed)


def test_lineage_and_status_show_and_do_not_obey(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=1200)
    console.print(drawn(Step("sample", HOSTILE, HOSTILE, [Step("answer", "a", HOSTILE)])))
    service = {"url": "http://127.0.0.1:1", "state": "not ready", "objections": [HOSTILE]}
    verdict = {"verdict": HOSTILE, "version": HOSTILE}
    state = {
        "services": {"annotation": service},
        "promotion": {"workloads": {"w": {"champion": HOSTILE, "last_verdict": verdict}}},
        "annotation": {"workloads": {"w": {"advice": [HOSTILE]}}},
        "scheduler": {"workloads": {"w": {"next": HOSTILE}}},
        "running_jobs": [{"kind": "train", "workload": "w", "why": HOSTILE, "progress": {"done": HOSTILE}}],
    }
    show(state, console)
    printed = capsys.readouterr().out
    assert printed.count("hello") == 11
    assert not obeyed(printed)
