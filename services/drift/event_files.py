"""A file of answers, a JSON object a line, as the values of each signal.

A line is a plain answer ({"prompt": ..., "answer": ..., "latency_seconds": ...}; docs/drift.md has every key) or a
CloudEvent of ours (AnswerServed, FeedbackGiven, SampleCorrected), as the bus carries them. Other events of ours are
passed over. A repeated answer id or event counts once.
Fails: Unusable with file, line and what to do; nothing is guessed, and no line is skipped.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.drift.signals import Values, is_negative, last_question, number, of_answer, of_prompt
from shared.errors import Unusable
from shared.events import AnswerServed, FeedbackGiven, SampleCorrected, decode

MOST_LINE_CHARACTERS = 20_000_000
_NUMBERS = ("prompt_tokens", "answer_tokens", "latency_seconds", "first_token_seconds", "mean_logprob")
_FLAGS = ("schema_valid", "refusal")
_TEXTS = ("prompt", "answer", "finish_reason", "verdict", "thumb", "workload", "version", "answer_id")
_KEYS = {*_NUMBERS, *_FLAGS, *_TEXTS, "messages", "score"}


@dataclass
class EventFile:
    """The answers of one workload in a file, in its order."""

    file: Path
    answers: list[Values] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    workloads: set[str] = field(default_factory=set)


@dataclass
class _Reading:
    found: EventFile
    workload: str | None
    places: dict[str, int] = field(default_factory=dict)  # answer id -> its place
    seen: set[str] = field(default_factory=set)  # event ids
    feedback: dict[str, FeedbackGiven] = field(default_factory=dict)  # by answer: the last word counts
    verdicts: dict[str, str] = field(default_factory=dict)

    def add(self, values: Values, answer_id: str | None, workload: str | None, version: str | None) -> None:
        self.found.workloads |= {workload} if workload else set()
        if self.workload is not None and workload != self.workload:
            return
        if answer_id is not None:
            if answer_id in self.places:
                return
            self.places[answer_id] = len(self.found.answers)
        self.found.versions |= {version} if version else set()
        self.found.answers.append(values)


def read_events(file: Path, workload: str | None = None) -> EventFile:
    """workload: only its answers; needed where the file holds more than one."""
    reading = _Reading(EventFile(file), workload)
    for line, text in _lines(file):
        try:
            _read(text, reading)
        except Unusable as error:
            raise Unusable(f"{file}, line {line}: {error}") from error
    _join(reading)
    found = reading.found
    if not found.answers:
        names = ", ".join(sorted(found.workloads))
        raise Unusable(
            f"{file} holds no answer" + (f" of {workload!r}; it has {names or 'no workload'}" if workload else "")
        )
    if workload is None and len(found.workloads) > 1:
        names = ", ".join(sorted(found.workloads))
        raise Unusable(f"{file} holds more than one workload ({names}); name one by --workload")
    return found


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for place, text in enumerate(iter(lambda: lines.readline(MOST_LINE_CHARACTERS + 1), ""), start=1):
                if len(text) > MOST_LINE_CHARACTERS:
                    raise Unusable(f"{file}, line {place}: longer than {MOST_LINE_CHARACTERS:,} characters")
                if text.strip():
                    yield place, text
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{file} is not UTF-8 text: {error.reason} at byte {error.start} of a block") from error


def _read(text: str, reading: _Reading) -> None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"is no JSON: {error}; each line should be one whole object") from error
    if not isinstance(line, dict):
        raise Unusable(f"is a JSON {type(line).__name__}, not an object")
    if "specversion" in line:
        _read_event(text, reading)
    else:
        _read_plain(line, reading)


def _read_event(text: str, reading: _Reading) -> None:
    envelope, event = decode(text.encode("utf-8", "surrogatepass"))
    if envelope.id in reading.seen:
        return
    reading.seen.add(envelope.id)
    match event:
        case AnswerServed():
            reading.add(of_event(event), event.answer_id, event.workload, event.version)
        case FeedbackGiven():
            reading.feedback[event.answer_id] = event
        case SampleCorrected():
            reading.verdicts[event.sample_id] = event.verdict
        case _:
            pass


def of_event(event: AnswerServed) -> Values:
    """An answer that the client left is no measure of answers, but its prompt is one of prompts."""
    values = of_prompt(last_question(event.messages))
    given = {name: number(getattr(event, name)) for name in _NUMBERS}
    if event.client_abort:
        return values | ({"prompt_tokens": given["prompt_tokens"]} if given["prompt_tokens"] is not None else {})
    values |= {name: value for name, value in given.items() if value is not None}
    if event.finish_reason is not None:
        values["finish_reason"] = event.finish_reason
    return values | (of_answer(event.answer) if not event.tool_calls else {})


def _read_plain(line: dict[str, Any], reading: _Reading) -> None:
    if not _KEYS & line.keys():
        raise Unusable(f"has none of the keys this reads: {', '.join(sorted(_KEYS))}")
    texts = {name: _text(line, name) for name in _TEXTS}
    prompt = texts["prompt"] if texts["prompt"] is not None else _asked(line)
    values: Values = of_prompt(prompt) if prompt is not None else {}
    values |= of_answer(texts["answer"]) if texts["answer"] is not None else {}
    for name in _NUMBERS:
        if line.get(name) is not None:
            values[name] = _number(line, name)
    for name in _FLAGS:
        if line.get(name) is not None:
            values[name] = _flag(line, name)
    if texts["finish_reason"] is not None:
        values["finish_reason"] = texts["finish_reason"]
    values |= _said(line, texts["thumb"])
    values |= _reviewed(texts["verdict"])
    reading.add(values, texts["answer_id"], texts["workload"], texts["version"])


def _said(line: Mapping[str, Any], thumb: str | None) -> Values:
    """Feedback is counted where the line has a key for it: null says that there was none."""
    if "thumb" not in line and "score" not in line:
        return {}
    if thumb not in (None, "up", "down"):
        raise Unusable(f'thumb is {thumb[:40]!r}; it should be "up", "down" or null')
    score = _number(line, "score") if line.get("score") is not None else None
    if score is not None and not 0 <= score <= 1:
        raise Unusable(f"score is {score:g}; it should be from 0 to 1")
    return _feedback(thumb, score)


def _feedback(thumb: str | None, score: float | None) -> Values:
    negative = is_negative(thumb, score)
    return {"feedback": False} if negative is None else {"feedback": True, "negative_feedback": negative}


def _reviewed(verdict: str | None) -> Values:
    if verdict is None:
        return {}
    if verdict not in ("good", "fix", "discard"):
        raise Unusable(f'verdict is {verdict[:40]!r}; it should be "good", "fix" or "discard"')
    return {} if verdict == "discard" else {"correction": verdict == "fix"}


def _join(reading: _Reading) -> None:
    """Feedback and verdicts to their answers; those of answers that are not in the file are nobody's."""
    answers = reading.found.answers
    if reading.feedback:
        for answer_id, place in reading.places.items():
            said = reading.feedback.get(answer_id)
            answers[place] |= _feedback(said.thumb, number(said.score)) if said else {"feedback": False}
    for answer_id, verdict in reading.verdicts.items():
        if answer_id in reading.places:
            answers[reading.places[answer_id]] |= _reviewed(verdict)


def _asked(line: Mapping[str, Any]) -> str | None:
    messages = line.get("messages")
    if messages is None:
        return None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Unusable('messages should be a list of objects, such as [{"role": "user", "content": "..."}]')
    return last_question(messages)


def _text(line: Mapping[str, Any], name: str) -> str | None:
    value = line.get(name)
    if value is not None and not isinstance(value, str):
        raise Unusable(f"{name} is {json.dumps(value)[:60]}; it should be text or null")
    return value


def _number(line: Mapping[str, Any], name: str) -> float:
    value = number(line[name])
    if value is None:
        raise Unusable(f"{name} is {json.dumps(line[name])[:60]}; it should be a finite number or null")
    if value < 0 and name != "mean_logprob":
        raise Unusable(f"{name} is {value:g}; it cannot be below 0")
    return value


def _flag(line: Mapping[str, Any], name: str) -> bool:
    value = line[name]
    if not isinstance(value, bool):
        raise Unusable(f"{name} is {json.dumps(value)[:60]}; it should be true, false or null")
    return value
