"""Training snapshots, as annotation makes them.

Calls: annotation's `POST /v1/snapshots`; the same content is the same snapshot.
"""

from dataclasses import dataclass

from shared.artifacts import path_of, read_manifest
from shared.calls import Caller
from shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Snapshot:
    snapshot_id: str
    uri: str
    sha256: str
    examples: int
    example_ids: tuple[str, ...]


def take_training_snapshot(annotation: Caller, workload: str) -> Snapshot:
    """Of the workload's training examples as they are now; Unusable when there is none, Unavailable when it is away."""
    answer = annotation.post("/v1/snapshots", {"workload": workload, "split": "train"})
    try:
        uri, examples = str(answer["uri"]), int(answer["examples"])
        snapshot_id, sha256 = str(answer["snapshot_id"]), str(answer["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"annotation's answer to POST /v1/snapshots is not a snapshot: {answer!r:.200}") from error
    manifest = read_manifest(path_of(uri))
    return Snapshot(snapshot_id, uri, sha256, examples, tuple(str(i) for i in manifest.get("example_ids", ())))
