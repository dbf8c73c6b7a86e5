"""Which group a new prompt belongs to: found or opened once, then kept for ever.

Twice: the same folded prompt is found again by its digest; nothing is written. Two consumers that open a group at the
same moment collide on its primary key: one of them is retried by its supervisor and then finds the group.
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
    Shingles,
    Split,
    band_rows,
    bands_of,
    group_key,
    joining,
    question,
    shingles_of,
    split_of,
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
    return Membership(row.group_id, split, prompt.straddles, prompt_text.digest, question(messages))


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
    threshold = workload.grouping.similarity
    alone = key.from_application or threshold >= 1
    shingles = None if alone else shingles_of(key.text)
    rows = 0 if alone else band_rows(threshold)
    keys = [] if shingles is None else bands_of(shingles, rows)
    neighbourhood = repository.bands(session, name, keys) if keys else []
    found = Joining(None, False) if shingles is None else _nearest(session, name, shingles, neighbourhood, threshold)
    prompt = PromptRow(
        workload=name,
        text_id=key.digest,
        group_id=found.neighbour.group_id if found.neighbour else key.digest[:16],
        straddles=found.straddles,
        shingles=None if shingles is None else repository.to_bytes(shingles),
    )
    _index(session, prompt, keys, neighbourhood, rows)
    if found.neighbour:
        return _find_group(session, name, prompt)
    return prompt, _open_group(session, name, workload, key)


def _nearest(
    session: Session, name: str, shingles: Shingles, neighbourhood: Sequence[Band], threshold: float
) -> Joining:
    shared = Counter(band.text_id for band in neighbourhood)
    likely = [text_id for text_id, _ in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:MOST_CANDIDATES]]
    return joining(shingles, repository.neighbours(session, name, likely) if likely else [], threshold)


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
