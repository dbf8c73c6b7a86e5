"""The serving plan: registry in, plan out. Pure; whoever stores it decides its number.

A plan names champions only, so what was rejected, is being measured or has no verdict cannot be in it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Serving:
    """The champion of a workload and where its base model runs."""

    version: str
    model: str  # what the model server calls it
    upstreams: Sequence[str]


def plan_of(champions: Mapping[str, Serving]) -> dict[str, Any]:
    """The `workloads` of a plan, in the order of names."""
    return {
        workload: {
            "routes": [{"version": serving.version, "model": serving.model, "share": 1.0}],
            "upstreams": list(serving.upstreams),
        }
        for workload, serving in sorted(champions.items())
    }


def canonical(workloads: Mapping[str, Any]) -> str:
    """One text for one plan: two plans are the same when these are."""
    return json.dumps(workloads, sort_keys=True, separators=(",", ":"))


def etag_of(plan_version: int, workloads: Mapping[str, Any]) -> str:
    """Of the content too, so a plan of a registry that began anew is not taken for the old one of that number."""
    digest = hashlib.sha256(canonical(workloads).encode()).hexdigest()[:16]
    return f'"plan-{plan_version}-{digest}"'
