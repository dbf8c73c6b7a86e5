"""Records to one dataset of Argilla, and everything it has back."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.annotation.desk_answers import verdicts_in
from services.annotation.desk_records import MOST_BATCH_RECORDS, Record, batches, halves
from services.annotation.desk_wire import Refused, Wire, encoded

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version of one workload's desk."""

    dataset_id: str
    name: str
    workload: str
    for_review: bool
    number: int
    is_current: bool  # new items go here; the others are drained
    question_ids: dict[str, str] = field(default_factory=dict)


def push(wire: Wire, dataset_id: str, records: Sequence[Record]) -> dict[str, str]:
    """Those that the server will not take, by external id, with its words; the others are in. Twice: nothing new."""
    bodies = {record["external_id"]: encoded(record) for record in records}
    sizes = {external_id: len(body) for external_id, body in bodies.items()}
    refused: dict[str, str] = {}
    for batch in batches(records, sizes):
        refused |= _upsert(wire, dataset_id, [record["external_id"] for record in batch], bodies)
    return refused


def sweep(wire: Wire, dataset: Dataset) -> list[dict[str, Any]]:
    """All records by the database; those that the index does not know, or knows without their answers, go in again."""
    kept = list(wire.kept(dataset.dataset_id))
    answered = {record["id"] for record in kept if list(verdicts_in([record], {}, final=False))}
    found = {record["id"] for record in wire.answered(dataset.dataset_id)}
    lost = (answered - found) | ({record["id"] for record in kept} - wire.indexed(dataset.dataset_id))
    if lost:
        log.warning("%s: %d records were missing in Argilla's search index; put back", dataset.name, len(lost))
        bodies = {r["id"]: encoded({"id": r["id"], "external_id": r["external_id"]}) for r in kept if r["id"] in lost}
        ids = list(bodies)
        for start in range(0, len(ids), MOST_BATCH_RECORDS):
            _upsert(wire, dataset.dataset_id, ids[start : start + MOST_BATCH_RECORDS], bodies)
    return kept


def _upsert(wire: Wire, dataset_id: str, ids: Sequence[str], bodies: Mapping[str, bytes]) -> dict[str, str]:
    """Halves a refused batch until those are found that the server will not take; the rest is in."""
    try:
        wire.upsert(dataset_id, [bodies[one] for one in ids])
    except Refused as error:
        if len(ids) == 1:
            return {ids[0]: str(error)}
        refused: dict[str, str] = {}
        for half in halves(ids):
            refused |= _upsert(wire, dataset_id, half, bodies)
        return refused
    return {}
