"""Immutable, hashed sets of examples: JSONL in OpenAI's chat format and a manifest, in one sealed folder.

The same content is the same snapshot: its id is a hash of the lines, and a folder that verifies is kept as it is.
A training snapshot reads the view `train_examples`, which cannot see the holdout. Messages are written as
{role, content: text}, by the rule that training reads them with (shared/chat.py). Curation lets nothing else in; an
example of former days that is not text is left out and named in the log and in the manifest's `left_out`.
Fails: no example is Unusable; a disk that is full is Unavailable and leaves nothing behind.
"""

import hashlib
import json
import logging
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Engine
from sqlmodel import Session

from services.annotation import repository
from services.annotation.curation import normalised
from services.annotation.grouping import Split
from shared import artifacts
from shared.chat import NotText, text_messages
from shared.db import reading
from shared.errors import Unavailable, Unusable

log = logging.getLogger(__name__)
KIND = "snapshot"
EXAMPLES = "examples.jsonl"


@dataclass(frozen=True, slots=True)
class Snapshot:
    snapshot_id: str
    uri: str
    sha256: str  # of examples.jsonl
    workload: str
    split: str
    examples: int
    groups: int
    good: int
    fix: int


@dataclass(slots=True)
class _Written:
    sha256: str = ""
    example_ids: list[str] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)  # example id -> why


def take_snapshot(engine: Engine, folder: Path, workload: str, split: Split) -> Snapshot:
    """Of the active examples as they are now. folder: where snapshots live, artifacts/snapshots."""
    draft = folder / f".{uuid.uuid4().hex}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with reading(engine) as session, draft.open("wb") as stream:
            written = _write_lines(session, stream, workload, split)
            retired = repository.retired(session, workload, split)
        for example_id, why in written.left_out.items():
            log.warning("example %s is left out of the snapshot: %s", example_id, why)
        if not written.example_ids:
            raise Unusable(f"workload {workload!r} has no {split} example yet; correct some answers at the desk first")
        return _seal(draft, folder, workload, split, written, retired)
    except OSError as error:
        raise Unavailable(f"the snapshot cannot be written to {folder}: {error}; free some space") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _seal(draft: Path, folder: Path, workload: str, split: Split, written: _Written, retired: int) -> Snapshot:
    identity = f"{workload}\0{split}\0{written.sha256}"
    final = folder / hashlib.sha256(identity.encode()).hexdigest()[:16]
    snapshot = Snapshot(
        snapshot_id=final.name,
        uri=artifacts.uri_of(final),
        sha256=written.sha256,
        workload=workload,
        split=split,
        examples=len(written.example_ids),
        groups=len(written.groups),
        good=written.kinds["good"],
        fix=written.kinds["fix"],
    )
    facts = {k: v for k, v in asdict(snapshot).items() if k != "uri"}  # a folder that is moved stays true
    facts |= {"example_ids": written.example_ids, "retired_seen": retired, "left_out": written.left_out}
    if not artifacts.is_valid(final, KIND):
        with artifacts.writing(final, KIND, facts) as new:
            draft.replace(new / EXAMPLES)
    return snapshot


def _write_lines(session: Session, stream: BinaryIO, workload: str, split: Split) -> _Written:
    written, digest = _Written(), hashlib.sha256()
    for example_id, group, kind, messages, ideal, answer in repository.visible_examples(session, workload, split):
        expected = normalised(answer) if kind == "good" else ideal
        try:
            line = _line(example_id, group, kind, json.loads(messages), expected)
        except NotText as error:
            written.left_out[example_id] = str(error)
            continue
        stream.write(line)
        digest.update(line)
        written.example_ids.append(example_id)
        written.groups.add(group)
        written.kinds[kind] += 1
    written.sha256 = digest.hexdigest()
    return written


def _line(example_id: str, group: str, kind: str, messages: list[dict[str, Any]], ideal: str) -> bytes:
    turns = text_messages([*messages, {"role": "assistant", "content": ideal}])
    line = {"id": example_id, "group": group, "kind": kind, "messages": turns}
    return (json.dumps(line, ensure_ascii=False) + "\n").encode()
