"""Reading what people and services hand to training: snapshots, replay files, suites. Standard library only.

A line ends at \\n and nowhere else: texts hold other characters that look like an end of line (U+2028, U+0085).
Fails: Unusable, naming the file, the line, the example and what would be right; nothing is skipped silently.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.chat import NotText, text_messages
from shared.errors import Unusable
from shared.limits import ADVISED_EXAMPLES, LEAST_EXAMPLES

EXAMPLES = "examples.jsonl"
WARNED_BELOW = 50  # examples of a snapshot

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation whose last message is the right answer."""

    id: str
    group: str  # what means the same shares a group; figures are counted by group
    slice: str  # a kind of item, for people: "fix", "good", "json" ...
    messages: tuple[Message, ...]
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)  # for scorers: "tests", "refuse" ...

    @property
    def prompt(self) -> list[Message]:
        return list(self.messages[:-1])

    @property
    def answer(self) -> str:
        return self.messages[-1]["content"]


def read_snapshot(folder: Path) -> tuple[dict[str, Any], list[Example]]:
    """The verified manifest and the examples of a snapshot folder."""
    manifest = artifacts.verify(folder, "snapshot")
    return manifest, read_items(folder / EXAMPLES)


def read_suite(path: Path) -> list[Example]:
    """The items of a JSONL file, or of a verified snapshot folder."""
    return read_snapshot(path)[1] if path.is_dir() else read_items(path)


def read_items(file: Path) -> list[Example]:
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise Unusable(f"{file} does not exist; give a JSONL file or a snapshot folder") from None
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error}") from error
    items = [_item(line, f"{file}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise Unusable(f"{file}: the id {item.id!r} stands there twice; ids must differ")
        seen.add(item.id)
    return items


def advice(count: int) -> str | None:
    """What to tell people about a snapshot of so many examples; Unusable when it is too small to learn from."""
    if count < LEAST_EXAMPLES:
        raise Unusable(
            f"the snapshot has {count} examples; at least {LEAST_EXAMPLES} are needed, {ADVISED_EXAMPLES} are advised"
        )
    if count < WARNED_BELOW:
        return f"only {count} examples: expect an unsteady candidate; {ADVISED_EXAMPLES} are advised"
    return None


def _item(line: bytes, where: str) -> Example:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{where}: not JSON in UTF-8 ({error}); mend or remove the line") from None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise Unusable(f"{where}: an object with a text 'id' is needed")
    where = f"{where}, example {row['id']!r}"
    messages = row.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        raise Unusable(f"{where}: 'messages' must be a list of {{role, content}} with a prompt and an answer")
    try:
        kept = tuple(text_messages(messages))
    except NotText as error:
        raise Unusable(f"{where}: {error}; mend or remove the line") from None
    if kept[-1]["role"] != "assistant" or not kept[-1]["content"].strip():
        raise Unusable(f"{where}: the last message must be the assistant's answer, and not empty")
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise Unusable(f"{where}: 'metadata' must be an object, or be left out")
    kind = str(row.get("slice", row.get("kind", "all")))
    return Example(row["id"], str(row.get("group", row["id"])), kind, kept, metadata)
