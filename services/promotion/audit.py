"""The audit log's chain: each edge carries the hash of the one before it. Pure.

A changed, missing or reordered row in the middle breaks the chain. Rows cut off at the end do not show in the chain
itself: compare its last hash with one noted elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Edge:
    """A stage change, by whom and why; report_sha256 is the hash of the report that decided it, when one did."""

    at: str
    workload: str
    version: str
    before: str
    after: str
    who: str
    why: str
    report_sha256: str | None = None


def hash_of(previous: str, edge: Edge) -> str:
    text = json.dumps([previous, asdict(edge)], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def verify_chain(rows: Iterable[tuple[Edge, str, str]]) -> str | None:
    """The first break in words, None when the chain is whole. rows: (edge, previous hash, own hash), oldest first."""
    expected = GENESIS
    for number, (edge, previous, own) in enumerate(rows, start=1):
        if previous != expected:
            return (
                f"row {number} ({edge.version}, {edge.at}) does not follow the row before it: one is missing or moved"
            )
        if hash_of(previous, edge) != own:
            return f"row {number} ({edge.version}, {edge.at}) is not what was written: its hash does not fit"
        expected = own
    return None
