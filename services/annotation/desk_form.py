"""The form that annotators fill in, as data: fields, questions, metadata, guidelines. Pure.

Argilla freezes a published form, so what is frozen has a digest: another digest is another version of the dataset.
Guidelines may change in place.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services.annotation.curation import REASON_LABELS
from shared.workloads import Workload

MOST_GUIDELINES = 10_000  # characters that Argilla takes

FIELDS = {
    "conversation": "Conversation",
    "answer": "What the model answered",
    "notes": "Why it is here",
}
OPINIONS = ("opinions", "What the annotators said")  # a field of the reviewers' form
VERDICTS = {"good": "Good as it is", "fix": "Needs a fix: the ideal answer below is what it should have said"}
QUESTIONS = {
    "verdict": "Is the answer right?",
    "ideal": "The ideal answer (edit it where the answer needs a fix)",
    "reasons": "What was wrong?",
    "comment": "Anything to add?",
}
METADATA = {
    "version": "Model version",
    "signal": "Why it was picked",
    "confidence": "Confidence",
    "sample": "Sample",
}
_NAME = re.compile(r"(?P<workload>[a-z0-9-]+)(?P<review>\.review)?\.v(?P<number>\d+)-(?P<digest>[0-9a-f]{8})")


@dataclass(frozen=True)
class Form:
    """Of one workload. answers_per_item: submitted answers that complete a record."""

    workload: str
    answers_per_item: int
    guidelines: str
    for_review: bool = False

    @property
    def fields(self) -> dict[str, str]:
        return {**FIELDS, **dict([OPINIONS])} if self.for_review else FIELDS

    @cached_property
    def digest(self) -> str:
        frozen = [
            self.fields,
            VERDICTS,
            QUESTIONS,
            {reason.value: label for reason, label in REASON_LABELS.items()},
            METADATA,
            self.answers_per_item,
        ]
        return hashlib.sha256(json.dumps(frozen, sort_keys=True).encode()).hexdigest()[:8]

    def name(self, number: int) -> str:
        return f"{self.workload}{'.review' if self.for_review else ''}.v{number}-{self.digest}"


@dataclass(frozen=True, slots=True)
class Version:
    """What a dataset's name says."""

    workload: str
    for_review: bool
    number: int
    digest: str


def version_of(name: str) -> Version | None:
    """None: not a dataset of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Version(found["workload"], bool(found["review"]), int(found["number"]), found["digest"])


def form_of(name: str, workload: Workload) -> Form:
    return Form(name, workload.desk.answers_per_item, _guidelines(name, workload, _ASKED))


def review_form_of(name: str, workload: Workload) -> Form:
    """For those who decide where annotators disagree: one answer is enough."""
    return Form(name, 1, _guidelines(name, workload, _REVIEWED), for_review=True)


_ASKED = """\
Read the conversation and what the model answered.

* **Good as it is**: choose it and leave the ideal answer alone. It becomes an example as the model wrote it.
* **Needs a fix**: choose it and edit the ideal answer until it is what the model should have said. Say why below.
* **Discard** (the button): nothing is to be learned here: nonsense, private, not our business.
* Tick **missing or stale knowledge** where the model could not know the facts. The item goes to the backlog of the
  search behind the model and is never trained on, whatever the verdict.

A fix with an unchanged text, and a "good" with an edited one, are refused later: say what you mean."""

_REVIEWED = """\
Annotators disagreed about these items; what they said is on each. Your verdict is the one that counts.

* **Good as it is**, or **needs a fix** with the ideal answer as it should be, or **Discard** (the button).
* Tick **missing or stale knowledge** where the model could not know the facts."""


def _guidelines(name: str, workload: Workload, what_to_do: str) -> str:
    parts = [f"# {name}", what_to_do]
    if workload.system_prompt:
        parts.append(f"## What the model is told\n\n{_fenced(workload.system_prompt)}")
    if workload.answer_schema is not None:
        described = list(_described(workload.answer_schema))
        listed = "\n".join(described) or "See the schema below."
        schema = json.dumps(workload.answer_schema, indent=2, ensure_ascii=False)
        parts.append(f"## What an answer has to look like\n\nJSON, nothing around it.\n\n{listed}")
        parts.append(_fenced(schema, "json"))
    text = "\n\n".join(parts)
    if len(text) <= MOST_GUIDELINES:
        return text
    note = "\n\n(The rest did not fit here.)"
    return _closed(text[: MOST_GUIDELINES - len(note) - 10]) + note


def _described(schema: dict[str, Any]) -> Any:
    """A line for each top-level property that says something about itself."""
    required = schema.get("required") or []
    for key, value in (schema.get("properties") or {}).items():
        about = value if isinstance(value, dict) else {}
        kind = about.get("type", "any value")
        words = [str(kind) if isinstance(kind, str) else " or ".join(map(str, kind))]
        if "enum" in about:
            words = ["one of " + ", ".join(_code(json.dumps(choice, ensure_ascii=False)) for choice in about["enum"])]
        if about.get("description"):
            words.append(str(about["description"]))
        yield f"* {_code(str(key))}{'' if key in required else ' (may be left out)'}: {'; '.join(words)}"


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _fenced(text: str, language: str = "") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _closed(text: str) -> str:
    """Cut Markdown whose open fence, if any, is closed."""
    opened: str | None = None
    for line in text.split("\n"):
        mark = re.match(r"`{3,}", line)
        if mark and opened is None:
            opened = mark[0]
        elif opened is not None and line == opened:
            opened = None
    return text if opened is None else f"{text}\n{opened}"
