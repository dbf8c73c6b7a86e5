"""Whether annotators agree about an item: the decision alone, and how an opinion is read. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from services.annotation.curation import Reason, normalised

Label = Literal["good", "fix", "discard", "knowledge"]
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True, slots=True)
class Opinion:
    """The last word of one annotator."""

    correction_id: str
    annotator: str
    label: str
    ideal: str | None


@dataclass(frozen=True, slots=True)
class AwaitsAnother:
    """Fewer have answered than were asked."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """More than half say the same; this one of their corrections counts."""

    correction_id: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """A reviewer has to say."""


Settlement = AwaitsAnother | Agreed | Disputed


def label_of(verdict: str, reasons: Iterable[str]) -> Label:
    """Missing knowledge outranks the verdict, as in curation."""
    if Reason.KNOWLEDGE in reasons:
        return "knowledge"
    return "discard" if verdict == "discard" else "good" if verdict == "good" else "fix"


def settle(opinions: Sequence[Opinion], needed: int, standing: str | None, *, is_json: bool) -> Settlement:
    """opinions: oldest first. standing: the correction that counts now; it goes on if it is among those that agree.

    is_json: two fixes agree when their JSON is equal, whatever its spaces and order. Of free text nobody writes the
    same twice, so there it is enough that both want a fix; the first one's text counts.
    """
    if len(opinions) < needed:
        return AwaitsAnother()
    said = {opinion.correction_id: _content(opinion, is_json) for opinion in opinions}
    content, votes = Counter(said.values()).most_common(1)[0]
    if 2 * votes <= len(opinions):
        return Disputed()
    agreeing = [correction_id for correction_id, what in said.items() if what == content]
    return Agreed(standing if standing in agreeing else agreeing[0])


def same_ideal(one: str | None, other: str | None, *, is_json: bool) -> bool:
    return _ideal(one, is_json) == _ideal(other, is_json)


def _content(opinion: Opinion, is_json: bool) -> tuple[str, str]:
    return opinion.label, _ideal(opinion.ideal, True) if opinion.label == "fix" and is_json else ""


def _ideal(text: str | None, is_json: bool) -> str:
    plain = normalised(text or "").strip()
    if not is_json:
        return plain
    try:
        return json.dumps(json.loads(plain), sort_keys=True)
    except (ValueError, RecursionError):
        return plain
