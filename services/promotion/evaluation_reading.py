"""An evaluation's sealed folder, as the gate and the report need it; snapshots' examples, for the search for leaks.

Fails: ArtifactInvalid when a folder does not verify, Unusable naming file and line when its content is not what an
evaluation holds. Numbers are passed on as they are, NaN included: judging them is the gate's part.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import msgspec

from services.promotion.contamination import Text, find_overlaps, text_of
from services.promotion.guards import Leakage
from services.promotion.measurement import Item, Side
from shared.artifacts import path_of, verify
from shared.errors import Unusable

T = TypeVar("T")
HOLDOUT, GENERAL = "holdout", "general"
_ITEMS, _EXAMPLES = "items.jsonl", "examples.jsonl"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One answered item of one version; see docs/interfaces.md."""

    version: str
    suite: str
    item: str
    group: str
    exact: bool
    score: float | None = None
    graded: bool = False  # the scorer's shades count, as for free text; else whole answers are right or wrong
    slice: str | None = None
    fields: dict[str, bool] | None = None
    schema_valid: bool | None = None
    messages: list[dict[str, Any]] = msgspec.field(default_factory=list)
    expected: str = ""
    answer: str | None = None
    error: str | None = None
    cut_off: bool = False


class _Example(msgspec.Struct, frozen=True):
    id: str
    group: str
    messages: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class Evaluation:
    uri: str
    manifest: Mapping[str, Any]
    lines: Mapping[tuple[str, str], Sequence[Line]] = field(repr=False)  # by version and suite
    schema: Mapping[str, Any] | None = None  # the workload's answer schema

    def side(self, version: str) -> Side:
        harness = self.manifest.get("harness_sha256")
        return Side(
            version=version,
            harness_sha256=harness if isinstance(harness, str) else "",
            holdout=tuple(_item(line, self._fits(line)) for line in self.of(version, HOLDOUT)),
            general=tuple(_item(line, line.schema_valid) for line in self.of(version, GENERAL)),
        )

    def _fits(self, line: Line) -> bool | None:
        """What the scorer said; where it looks at the text alone, the answer is held against the schema here."""
        if line.schema_valid is not None or self.schema is None:
            return line.schema_valid
        try:
            answer = json.loads(line.answer or "")
        except (ValueError, RecursionError):
            return False
        return bool(jsonschema.Draft202012Validator(self.schema).is_valid(answer))

    def of(self, version: str, suite: str) -> Sequence[Line]:
        return self.lines.get((version, suite), ())


def read_evaluation(uri: str, schema: Mapping[str, Any] | None = None) -> Evaluation:
    folder = path_of(uri)
    manifest = verify(folder, "evaluation")
    lines: dict[tuple[str, str], list[Line]] = {}
    for line in _read_lines(folder / _ITEMS, Line):
        lines.setdefault((line.version, line.suite), []).append(line)
    return Evaluation(uri, manifest, lines, schema)


def another_adapter(evaluation: Evaluation, version: str, adapter_sha256: str | None) -> str | None:
    """Why it was not this version that was measured, in words; None when it was. adapter_sha256: None for a base."""
    measured = evaluation.manifest.get("versions")
    entry = measured.get(version) if isinstance(measured, dict) else None
    if not isinstance(entry, dict):
        return f"the evaluation does not say which adapter it took for {version}"
    if entry.get("adapter_sha256") != adapter_sha256:
        return f"the evaluation took another adapter for {version}: {entry.get('adapter_sha256')}"
    return None


def strangers(evaluation: Evaluation, version: str, holdout_uri: str) -> str | None:
    """Why these are not the items of the holdout that was ordered, in words; None when they are."""
    ordered = {example.id for example in _read_lines(_snapshot(holdout_uri) / _EXAMPLES, _Example)}
    answered = {line.item for line in evaluation.of(version, HOLDOUT)}
    if ordered == answered:
        return None
    return (
        f"{version} was not measured on the holdout that was ordered: {len(ordered - answered)} of its items are "
        f"missing and {len(answered - ordered)} do not belong to it"
    )


def find_leakage(
    evaluation: Evaluation,
    champion: str,
    candidate: str,
    snapshot_uri: str,
    ancestry: Mapping[str, str] | None = None,
) -> Leakage:
    """What of the holdout stands in a training snapshot, or in one of its ancestry's: groups, examples, texts.

    ancestry: snapshot URIs by version. One that cannot be read any more is named in the result: old folders may be
    thrown away, and no weights came from there. The candidate's own has to be there.
    """
    examples = {e.id: e for e in _read_lines(_snapshot(snapshot_uri) / _EXAMPLES, _Example)}
    searched, unsearched = [candidate], []
    for version, uri in (ancestry or {}).items():
        try:
            examples.update((e.id, e) for e in _read_lines(_snapshot(uri) / _EXAMPLES, _Example))
            searched.append(version)
        except Unusable:
            unsearched.append(version)
    held = [*evaluation.of(champion, HOLDOUT), *evaluation.of(candidate, HOLDOUT)]
    return Leakage(
        groups=frozenset({e.group for e in examples.values()} & {line.group for line in held}),
        examples=frozenset(examples.keys() & {line.item for line in held}),
        overlaps=tuple(find_overlaps([_text(e) for e in examples.values()], [_question(line) for line in held])),
        searched=len(examples),
        versions=tuple(searched),
        unsearched=tuple(unsearched),
    )


def _text(example: _Example) -> Text:
    return text_of(example.id, example.group, example.messages)


def _question(line: Line) -> Text:
    return text_of(line.item, line.group, line.messages, line.expected)


def _snapshot(uri: str) -> Path:
    folder = path_of(uri)
    verify(folder, "snapshot")
    return folder


def _read_lines(file: Path, shape: type[T]) -> list[T]:
    found: list[T] = []
    try:
        with file.open(encoding="utf-8") as stream:
            for number, text in enumerate(stream, start=1):
                found.append(_line(file, number, text, shape))
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{file} cannot be read: {error}") from error
    return found


def _line(file: Path, number: int, text: str, shape: type[T]) -> T:
    try:
        # The standard library's parser, since it reads the NaN that a broken scorer writes: it shall be named as one.
        return msgspec.convert(json.loads(text), shape)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{file}, line {number}: {error}") from error


def _item(line: Line, schema_valid: bool | None) -> Item:
    answered = line.answer is not None
    return Item(
        line.item,
        line.group,
        _judged(line),
        line.exact,
        schema_valid,
        line.error,
        line.cut_off,
        slice=line.slice,
        length=float(len(line.answer or "")) if answered else None,  # characters, so that the expected one compares
        expected_length=float(len(line.expected)) if line.expected else None,
        prompt=prompt_of(line),
    )


def prompt_of(line: Line) -> str:
    """The last thing the user said."""
    prompts = [message.get("content") for message in line.messages if message.get("role") == "user"]
    return str(prompts[-1]) if prompts else ""


def _judged(line: Line) -> float | None:
    """Whole answers are judged, right or wrong: a record with four of five fields right is a wrong record.

    Free text is graded: there the score itself counts. A score that is no share is passed on as it is, so that the
    gate can name it.
    """
    if line.graded or line.score is None or not 0 <= line.score <= 1:
        return line.score
    return float(line.exact)
