"""What the pages say when there is little to say, and what a person sees of a refused call."""

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from services.cli import __main__ as cli
from services.cli.doctor.findings import look
from services.cli.doctor.page import show as show_findings
from services.cli.pages import console
from services.cli.status import gather, progress_of, show
from shared.errors import RatchetError, Unavailable, Unusable
from shared.ids import uuid7
from shared.settings import SharedSettings


class Nothing:
    def get(self, _path: str, **_params: object) -> dict[str, list[object]]:
        return {"jobs": [], "models": [], "gaps": []}


def page(state: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    ready = {"annotation": {"url": "http://127.0.0.1:1", "state": "ready", "objections": []}}
    show({"services": ready, "running_jobs": [], **state}, Console(width=160))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "said"),
    [("jobs", "no job yet; `ratchet train"), ("models", "no version yet"), ("knowledge", "no knowledge gap")],
)
def test_an_empty_list_is_a_sentence(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_caller", lambda _service: Nothing())
    getattr(cli, command)(workload=None, as_json=False)
    assert said in capsys.readouterr().out


def test_an_id_stays_whole_on_a_narrow_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"job_id": uuid7(), "kind": "train", "workload": "support-triage", "state": "failed", "why": "by hand " * 9}
    found = {"jobs": [{**job, "progress": None, "error": "x" * 90}]}
    monkeypatch.setattr(Nothing, "get", lambda *_, **__: found)
    monkeypatch.setattr(cli, "_caller", lambda _service: Nothing())
    monkeypatch.setattr(cli, "out", Console(width=100))
    cli.jobs(workload=None, as_json=False)
    printed = capsys.readouterr().out
    assert job["job_id"] in printed
    assert printed.count("x") == 90


def test_a_version_is_told_with_every_reason_of_its_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decided = {
        "version": "w@1",
        "stage": "REJECTED",
        "verdict": "REJECTED",
        "reasons": ["too few groups: [17]", "forgot"],
    }
    serving = {"version": "w@2", "stage": "CHAMPION", "verdict": "PASSED", "reasons": []}
    made = {"preset": "default", "created_at": "2026-11-20T18:09:37.877733Z"}
    found = {"models": [{**decided, **made}, {**serving, **made}]}
    monkeypatch.setattr(Nothing, "get", lambda *_, **__: found)
    monkeypatch.setattr(cli, "_caller", lambda _service: Nothing())
    monkeypatch.setattr(cli, "out", Console(width=100))
    cli.models(workload=None, as_json=False)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "w@1  REJECTED, preset default, made 2026-11-20 18:09 UTC",
        "    - too few groups: [17]",
        "    - forgot",
        "w@2  CHAMPION, verdict PASSED, preset default, made 2026-11-20 18:09 UTC",
    ]


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (
            {"step": 15, "steps": 60, "loss": 0.84702, "eta_seconds": 52.1, "lr": 1},
            "step 15/60, loss 0.847, 52 s to go",
        ),
        ({"step": 0, "steps": 60, "loss": None}, "step 0/60"),
        ({"done": 5, "total": 17}, "5/17"),
        (None, ""),
    ],
)
def test_progress_is_what_a_person_waits_for(progress: dict[str, Any] | None, said: str) -> None:
    assert progress_of({"state": "running", "progress": progress}) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Unusable(
                "POST http://h:1/v1/jobs answered 422: POST http://h:2/v1/s answered 422: no example yet; correct"
            ),
            "ratchet: no example yet; correct\n",
        ),
        (Unavailable("GET http://h:1/x: ConnectError: refused"), "`ratchet up` starts it\n"),
        (
            Unavailable("GET http://h:1/x answered 503: the database is away"),
            "h:1/x answered 503: the database is away\n",
        ),
    ],
)
def test_a_refused_call_is_its_own_sentence(error: RatchetError, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), cli._errors_in_words():
        raise error
    assert capsys.readouterr().err.endswith(said)


def test_a_holdout_that_is_too_small_is_told_with_its_groups_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict = {"verdict": "INCONCLUSIVE", "version": "w@1", "reasons": ["the holdout has 17 groups and needs 60"]}
    store = {"waiting": 1, "nominated": 6, "holdout": 18, "holdout_groups": 17, "advice": ["keep correcting"]}
    ledger = {"holdout_version": 2, "decisions": 1, "decisions_left": 4, "alpha": 0.01, "spent": 0.01, "budget": 0.05}
    promotion = {"workloads": {"w": {"last_verdict": verdict, "ledger": ledger}}}
    annotation = {"workloads": {"w": store}}
    said = page({"promotion": promotion, "annotation": annotation}, capsys)
    parts = (
        "18 in 17 groups",
        "1 (6 held back: repeats, or over today's budget)",
        "INCONCLUSIVE w@1",
        "w: keep correcting",
        "4 (0.01 of 0.05",
    )
    for part in parts:
        assert part in said


def test_status_asks_for_the_jobs_that_run_now(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"jobs": []})

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr("shared.calls.httpx.Client", partial(httpx.Client, transport=transport))
    gather(SharedSettings.load())
    assert [url.partition("/v1/jobs")[2] for url in asked if "/v1/jobs" in url] == ["?state=running"]


def test_in_a_pipe_every_row_is_one_whole_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    path = "/data/" + "a-long-folder-name/" * 20
    show_findings([look("data folder", f"{path} is open to others", f"chmod 700 {path}")], console())
    lines = capsys.readouterr().out.splitlines()
    assert any(f"{path} is open to others" in line and line.rstrip().endswith(f"chmod 700 {path}") for line in lines)
    assert max(len(line) for line in lines) < 1000


def test_a_pipe_folds_where_columns_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    show_findings([look("disk", "x" * 300, "y")], console())
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 90


class OneWorkload(Nothing):
    """Services that know one workload, of which there is nothing to list yet."""

    def get(self, path: str, **_params: object) -> dict[str, Any]:
        return {"workloads": {"support-triage": {}}} if path == "/v1/status" else super().get(path)


@pytest.mark.parametrize("command", ["jobs", "models", "knowledge"])
def test_a_list_of_a_workload_that_is_not_there_is_refused_with_those_that_are(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_caller", lambda _service: OneWorkload())
    getattr(cli, command)(workload="support-triage", as_json=False)
    for as_json in (False, True):
        with pytest.raises(SystemExit) as ended, cli._errors_in_words():
            getattr(cli, command)(workload="support-triag", as_json=as_json)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "there is no workload 'support-triag'; known: support-triage; did you mean" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models", "cannot be read as TOML"),
        ('[tool.black]\nline-length = 100\nmodels = 3\nworkloads = ["a"]\n', "tool"),
        ("models = 3\nworkloads = [1]\n", "models"),
        ('[models.a]\npath = 7\n[workloads.b]\nbase = ["a"]\nanswer_schema = 1\ngate = 2\n', "workloads.b.base"),
        ("", "models is missing"),
    ],
)
def test_status_says_what_is_wrong_with_the_file(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATCHET_CONFIG", raising=False)
    (tmp_path / "ratchet.toml").write_text(text)
    with pytest.raises(SystemExit) as ended, cli._errors_in_words():
        cli.status()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_answer_that_is_none_of_ours_is_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"workloads": ["mine"], "jobs": []})

    transport = httpx.MockTransport(foreign)
    monkeypatch.setattr("shared.calls.httpx.Client", partial(httpx.Client, transport=transport))
    state = gather(SharedSettings.load())
    assert state["annotation"] is state["promotion"] is state["scheduler"] is None
    show(state, Console(width=160))
