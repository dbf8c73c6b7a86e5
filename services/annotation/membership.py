"""Which group a new prompt belongs to: found or opened once, then kept for ever.

Twice: the same folded prompt is found again by its digest; nothing is written. Two consumers that open a group at the
same moment collide on its primary key: one of them is retried by its supervisor and then finds the group.
Where the application names the groups, each prompt is kept beside them, so that one that comes under several keys, or
under none, teaches and tests on one side only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col

from services.annotation import metrics, repository
from services.annotation.grouping import (
    BUCKET_GROUPS,
    GroupKey,
    Joining,
    Neighbour,
    Shingles,
    Split,
    band_rows,
    bands_of,
    crosses,
    group_key,
    joining,
    question,
    shingles_of,
    split_of,
    whole_key,
)
from services.annotation.repository import Band
from services.annotation.tables import GroupRow, PromptRow
from shared.workloads import Workload

MOST_CANDIDATES = 32  # verified exactly for one new prompt, those that share most bands
REBUILD_BATCH = 500


@dataclass(frozen=True, slots=True)
class Membership:
    group_id: str
    split: Split
    straddles: bool
    text_id: str
    question: str


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """A new prompt's place in the index. No shingles: near-duplicates are not looked for."""

    shingles: Shingles | None
    rows: int
    keys: list[int]
    bands: Sequence[Band]
    neighbours: list[Neighbour]


def place(
    session: Session, name: str, workload: Workload, messages: Sequence[Mapping[str, Any]], group: str | None
) -> Membership:
    """The group of a prompt. group: metadata.group of its request. Counts one sample in the group."""
    key = group_key(messages, group, workload.grouping)
    # Where the application names the group, its key says nothing about near-duplicates; the prompt itself does.
    prompt_text = group_key(messages, None, workload.grouping)
    known = repository.prompt(session, name, key.digest)
    prompt, row = _find_group(session, name, known) if known else _admit(session, name, workload, key)
    split: Split = "holdout" if row.split == "holdout" else "train"
    straddles = prompt.straddles
    if workload.grouping.key == "metadata.group":
        session.flush()
        straddles |= _crosses(session, name, workload, whole_key(messages, workload.grouping), row.group_id, split)
    return Membership(row.group_id, split, straddles, prompt_text.digest, question(messages))


def rebuild_bands(session: Session, name: str, workload: Workload) -> int:
    """Brings the index to the shape the threshold needs, a batch a call; how many prompts were done. 0: all are."""
    rows = band_rows(workload.grouping.similarity)
    prompts = repository.prompts_with_other_bands(session, name, rows, REBUILD_BATCH)
    for row in prompts:
        assert row.shingles is not None
        keys = bands_of(repository.from_bytes(row.shingles), rows)
        _index(session, row, keys, repository.bands(session, name, keys), rows)
        session.flush()
    return len(prompts)


def _find_group(session: Session, name: str, known: PromptRow) -> tuple[PromptRow, GroupRow]:
    row = repository.group(session, name, known.group_id)
    assert row is not None, f"prompt {known.text_id} of {name} names group {known.group_id}, which is not there"
    # Counted in SQL: another process may count at the same moment.
    row.samples = col(GroupRow.samples) + 1  # type: ignore[assignment]
    session.add(row)
    return known, row


def _admit(session: Session, name: str, workload: Workload, key: GroupKey) -> tuple[PromptRow, GroupRow]:
    """A prompt never seen: it joins the group of a near-duplicate, or opens its own."""
    if key.from_application:
        prompt = PromptRow(workload=name, text_id=key.digest, group_id=key.digest[:16])
        session.add(prompt)
        return prompt, _open_group(session, name, workload, key)
    around = _surroundings(session, name, workload, key)
    threshold = workload.grouping.similarity
    found = Joining(None, False) if around.shingles is None else joining(around.shingles, around.neighbours, threshold)
    group_id = found.neighbour.group_id if found.neighbour else key.digest[:16]
    prompt = _keep(session, name, key, around, group_id, straddles=found.straddles)
    if found.neighbour:
        return _find_group(session, name, prompt)
    return prompt, _open_group(session, name, workload, key)


def _crosses(session: Session, name: str, workload: Workload, key: GroupKey, group_id: str, split: Split) -> bool:
    """Whether what was asked was seen before, exactly or nearly, on the other side of the border.

    The application's keys do not know that two of them hold the same prompt. Whoever showed it first keeps it: its side
    is that of the group it was first seen in, and on the other side it is stored and never shown.
    """
    known = repository.prompt(session, name, key.digest)
    if known is not None:
        home = repository.group(session, name, known.group_id)
        return known.straddles or (home is not None and home.split != split)
    around = _surroundings(session, name, workload, key)
    straddles = around.shingles is not None and crosses(
        around.shingles, around.neighbours, workload.grouping.similarity, split
    )
    _keep(session, name, key, around, group_id, straddles=straddles)
    return straddles


def _surroundings(session: Session, name: str, workload: Workload, key: GroupKey) -> _Surroundings:
    """What is near a prompt; a similarity of 1 asks for equal ones only, which their digest finds."""
    if workload.grouping.similarity >= 1:
        return _Surroundings(None, 0, [], [], [])
    shingles, rows = shingles_of(key.text), band_rows(workload.grouping.similarity)
    keys = bands_of(shingles, rows)
    found = repository.bands(session, name, keys)
    shared = Counter(band.text_id for band in found)
    likely = [text_id for text_id, _ in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:MOST_CANDIDATES]]
    return _Surroundings(shingles, rows, keys, found, repository.neighbours(session, name, likely) if likely else [])


def _keep(
    session: Session, name: str, key: GroupKey, around: _Surroundings, group_id: str, *, straddles: bool
) -> PromptRow:
    prompt = PromptRow(
        workload=name,
        text_id=key.digest,
        group_id=group_id,
        straddles=straddles,
        shingles=None if around.shingles is None else repository.to_bytes(around.shingles),
    )
    _index(session, prompt, around.keys, around.bands, around.rows)
    return prompt


def _open_group(session: Session, name: str, workload: Workload, key: GroupKey) -> GroupRow:
    """The one moment in which a split is decided."""
    row = GroupRow(
        workload=name,
        group_id=key.digest[:16],
        split=split_of(key.digest, workload.gate.holdout_share),
        key=key.digest,
        from_application=key.from_application,
        samples=1,
    )
    session.add(row)
    metrics.GROUPS.labels(name, row.split).inc()
    return row


def _index(session: Session, prompt: PromptRow, keys: Sequence[int], neighbourhood: Sequence[Band], rows: int) -> None:
    """Keeps the prompt under those of its bands that its group does not show yet and that are not full."""
    groups_in = Counter(band.key for band in neighbourhood)
    shown = {band.key for band in neighbourhood if band.group_id == prompt.group_id}
    free = [key for key in dict.fromkeys(keys) if key not in shown and groups_in[key] < BUCKET_GROUPS]
    prompt.band_rows, prompt.bands = rows, len(shown) + len(free)
    session.add(prompt)
    repository.add_bands(session, prompt.workload, free, prompt.group_id, prompt.text_id)
