"""Files of answers: plain lines, our own events, and what is wrong with either."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.drift.event_files import read_events
from shared.errors import Unusable
from shared.events import AnswerServed, FeedbackGiven, PlanChanged, SampleCorrected, encode


def written(folder: Path, *lines: Any) -> Path:
    file = folder / "answers.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(text), encoding="utf-8")
    return file


def refused(file: Path, workload: str | None = None) -> str:
    with pytest.raises(Unusable) as caught:
        read_events(file, workload)
    return str(caught.value)


def served(answer_id: str, **more: Any) -> str:
    asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}]
    given = {"workload": "w", "version": "w@1", "messages": asked, "answer": "because", **more}
    return encode(AnswerServed(answer_id=answer_id, **given), "gateway").decode()


def test_a_plain_line_carries_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    line = {"prompt": "why?", "answer": "because", "latency_seconds": 0.5, "mean_logprob": -0.1, "other": [1]}
    (values,) = read_events(written(tmp_path, line)).answers
    assert values == {
        "prompt_text": "why?",
        "prompt_characters": 4.0,
        "answer_characters": 7.0,
        "refusal": False,
        "repetition": 0.0,
        "latency_seconds": 0.5,
        "mean_logprob": -0.1,
    }


def test_what_a_line_says_of_a_refusal_overrules_the_rule(tmp_path: Path) -> None:
    (values,) = read_events(written(tmp_path, {"answer": "I cannot help with that.", "refusal": False})).answers
    assert values["refusal"] is False


def test_feedback_is_counted_only_where_a_line_has_a_key_for_it(tmp_path: Path) -> None:
    lines = [
        {"answer": "a"},
        {"answer": "a", "thumb": None},
        {"answer": "a", "thumb": "down"},
        {"answer": "a", "score": 1},
    ]
    answers = read_events(written(tmp_path, *lines)).answers
    assert [values.get("feedback") for values in answers] == [None, False, True, True]
    assert [values.get("negative_feedback") for values in answers] == [None, None, True, False]


def test_our_own_events_are_joined_by_answer_whatever_their_order(tmp_path: Path) -> None:
    said = FeedbackGiven(feedback_id="f", answer_id="2", thumb="down")
    corrected = SampleCorrected(correction_id="c", sample_id="1", workload="w", verdict="fix")
    lines = [encode(event, "gateway").decode() for event in (said, corrected, PlanChanged(plan_version=3))]
    found = read_events(written(tmp_path, *lines, served("1", prompt_tokens=9), served("2")))
    assert [values.get("feedback") for values in found.answers] == [False, True]
    assert [values.get("correction") for values in found.answers] == [True, None]
    assert [values.get("prompt_tokens") for values in found.answers] == [9.0, None]
    assert found.answers[0]["prompt_text"] == "why?"
    assert (found.workloads, found.versions) == ({"w"}, {"w@1"})


def test_an_answer_that_came_twice_counts_once(tmp_path: Path) -> None:
    assert len(read_events(written(tmp_path, served("1"), served("1"), served("2"))).answers) == 2
    plain = {"answer_id": "7", "answer": "x"}
    assert len(read_events(written(tmp_path, plain, plain)).answers) == 1


def test_an_answer_that_the_client_left_is_a_prompt_only(tmp_path: Path) -> None:
    file = written(tmp_path, served("1", client_abort=True, prompt_tokens=9, answer_tokens=1, latency_seconds=0.1))
    assert set(read_events(file).answers[0]) == {"prompt_text", "prompt_characters", "prompt_tokens"}


def test_a_call_of_a_tool_is_no_empty_answer(tmp_path: Path) -> None:
    (values,) = read_events(written(tmp_path, served("1", answer="", tool_calls=[{"id": "t"}]))).answers
    assert "answer_characters" not in values


def test_two_workloads_in_a_file_are_asked_about_and_one_is_taken_by_name(tmp_path: Path) -> None:
    file = written(tmp_path, {"answer": "a", "workload": "x"}, {"answer": "b", "workload": "y"})
    assert "(x, y); name one by --workload" in refused(file)
    assert len(read_events(file, "y").answers) == 1
    assert "holds no answer of 'z'; it has x, y" in refused(file, "z")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"answer": "half', "is no JSON"),
        ("[1]", "is a JSON list"),
        ({"text": "x"}, "has none of the keys this reads"),
        ({"answer": 7}, "answer is 7; it should be text"),
        ({"answer_tokens": "9"}, 'answer_tokens is "9"; it should be a finite number'),
        ('{"latency_seconds": NaN}', "latency_seconds is NaN"),
        ('{"latency_seconds": 1e999}', "latency_seconds is Infinity"),
        ({"latency_seconds": -1}, "cannot be below 0"),
        ({"refusal": "no"}, "should be true, false or null"),
        ({"thumb": "sideways"}, 'should be "up", "down" or null'),
        ({"score": 7}, "should be from 0 to 1"),
        ({"verdict": "maybe"}, 'should be "good", "fix" or "discard"'),
        ({"messages": "why?"}, "messages should be a list"),
        ({"specversion": "1.0", "type": "ratchet.unheard.of.v1"}, "not a usable event"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_number_and_reason(tmp_path: Path, line: Any, reason: str) -> None:
    said = refused(written(tmp_path, {"answer": "fine"}, "", line))
    assert "answers.jsonl, line 3: " in said
    assert reason in said


def test_a_file_that_is_missing_empty_or_no_text_is_told_as_such(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "none.jsonl")
    assert "holds no answer" in refused(written(tmp_path, ""))
    (tmp_path / "bytes.jsonl").write_bytes(b'{"answer": "\xff"}')
    assert "is not UTF-8 text" in refused(tmp_path / "bytes.jsonl")


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.drift.event_files.MOST_LINE_CHARACTERS", 1000)
    assert "line 1: longer than 1,000 characters" in refused(written(tmp_path, {"answer": "x" * 2000}))
