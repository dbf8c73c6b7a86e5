"""Gold items: made-up requests with known verdicts, put among the others to see how annotators do.

An annotator cannot tell them apart: the same form, an id of the same make, the version and the reason of the item
they follow. Their responses score the annotator and become neither corrections nor examples.
Twice: which item brings a gold one along, and its id, follow from that item's id, so a repeated push repeats it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from sqlalchemy import func
from sqlmodel import Session, select

from services.annotation.desk import Item, Message
from services.annotation.grouping import share_of
from services.annotation.settling import Label
from services.annotation.tables import GoldRow
from shared.db import put
from shared.errors import BadConfig
from shared.workloads import Workload

LINE = '{"messages": [{"role": "user", "content": "..."}], "answer": "...", "verdict": "fix", "ideal": "..."}'


class Gold(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: tuple[Message, ...]
    answer: str
    verdict: Label
    ideal: str | None = None

    @model_validator(mode="after")
    def _a_fix_has_an_ideal(self) -> "Gold":
        if (self.verdict == "fix") != (self.ideal is not None):
            raise ValueError('give an ideal with the verdict "fix" and with no other')
        return self

    @property
    def gold_id(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def read_gold(workloads: Mapping[str, Workload]) -> dict[str, list[Gold]]:
    """By workload; those without a file are left out. Raises BadConfig with the line."""
    return {name: _read(name, Path(w.desk.gold)) for name, w in workloads.items() if w.desk.gold is not None}


def _read(name: str, path: Path) -> list[Gold]:
    found = []
    where = f"workloads.{name}.desk.gold: {path}"
    try:
        lines = path.read_text("utf-8").split("\n")  # splitlines ends a line at U+2028, too, which texts may hold
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{where} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Gold.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            said = f"{where}, line {number}: {place} {first['msg']}".replace("  ", " ")
            raise BadConfig(f"{said}\nA line of such a file is {LINE}") from error
    if not found:
        raise BadConfig(f"{where} has no line; leave the key out")
    return found


def among(session: Session, items: Sequence[Item], known: Sequence[Gold], share: float) -> list[Item]:
    """The items with gold ones behind some of them: about one in 1/share. Their rows are part of the transaction."""
    shown = _times_shown(session, items[0].workload) if items else {}
    mixed: list[Item] = []
    for item in items:
        mixed.append(item)
        if known and share_of(f"gold\0{item.sample_id}") < share:
            gold = _chosen(session, known, shown, item)
            mixed.append(_shown(gold, item))
            shown[gold.gold_id] = shown.get(gold.gold_id, 0) + 1
    return mixed


def _chosen(session: Session, known: Sequence[Gold], shown: Mapping[str, int], beside: Item) -> Gold:
    """The one that was shown least; the same one again where a push is repeated."""
    gold = min(known, key=lambda one: (shown.get(one.gold_id, 0), one.gold_id))
    former = session.get(GoldRow, _id_like(beside.sample_id))
    if former is not None:
        gold = next((one for one in known if one.gold_id == former.gold_id), gold)
    put(session, _row(gold, beside))
    return gold


def _row(gold: Gold, beside: Item) -> GoldRow:
    return GoldRow(
        item_id=_id_like(beside.sample_id),
        workload=beside.workload,
        gold_id=gold.gold_id,
        label=gold.verdict,
        ideal=gold.ideal,
    )


def _shown(gold: Gold, beside: Item) -> Item:
    return beside.model_copy(
        update={
            "sample_id": _id_like(beside.sample_id),
            "messages": list(gold.messages),
            "answer": gold.answer,
            "ideal": gold.answer,
            "feedback": [],
            "schema_errors": [],
        }
    )


def _id_like(sample_id: str) -> str:
    """As an answer's id looks: the same millisecond, the rest made from it."""
    digest = hashlib.sha256(f"gold\0{sample_id}".encode()).hexdigest()
    try:
        former = UUID(sample_id).hex
    except ValueError:
        return digest[: max(16, min(32, len(sample_id)))]
    return str(UUID(former[:13] + digest[:3] + former[16] + digest[3:18]))


def _times_shown(session: Session, workload: str) -> dict[str, int]:
    query = select(GoldRow.gold_id, func.count()).where(GoldRow.workload == workload).group_by(GoldRow.gold_id)
    return dict(session.exec(query).all())
