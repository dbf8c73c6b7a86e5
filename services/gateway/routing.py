"""Which version answers a request: the serving plan and ratchet.toml turned into one look-up. Pure.

A conversation stays with its version while shares stand still, and a growing share takes conversations over without
giving any back: each conversation has a fixed point in [0, 1), each route an interval, in the plan's order. Every
gateway with the same plan chooses the same. A workload the plan does not know is answered by its bare base.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import urlsplit

import msgspec

from services.gateway.wire import system_message
from shared.errors import Unusable
from shared.ids import base_digest, base_version_name, workload_of
from shared.workloads import Deployment


class PlannedRoute(msgspec.Struct, frozen=True):
    version: str
    model: str  # what the model server calls it
    share: float  # 0-1


class PlannedWorkload(msgspec.Struct, frozen=True):
    routes: list[PlannedRoute]
    upstreams: list[str]


class Plan(msgspec.Struct, frozen=True):
    """The serving plan as promotion publishes it."""

    plan_version: int
    workloads: dict[str, PlannedWorkload]


@dataclass(frozen=True, slots=True)
class Route:
    version: str
    model: str
    share: float
    model_json: bytes  # the served name as the upstream body wants it
    version_header: bytes


@dataclass(frozen=True, slots=True)
class WorkloadRoutes:
    workload: str
    routes: Sequence[Route]
    starts: Sequence[float]  # where each route's interval begins, ascending from 0
    upstreams: tuple[str, ...]
    system_prompt: bytes | None  # the encoded message, put first when the request has no instructions of its own

    def choose(self, key: str) -> Route:
        """key: the conversation, or the answer's id where there is none."""
        if len(self.routes) == 1:
            return self.routes[0]
        return self.routes[bisect_right(self.starts, point_of(self.workload, key)) - 1]

    @property
    def main(self) -> Route:
        return max(self.routes, key=lambda route: route.share)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    plan_version: int  # 0: no plan was ever seen
    workloads: Mapping[str, WorkloadRoutes]


def point_of(workload: str, key: str) -> float:
    digest = hashlib.blake2b(f"{workload}\0{key}".encode("utf-8", "replace"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def read_plan(body: bytes) -> Plan:
    """Unusable, with the first thing that is wrong, when the gateway could not serve by this plan."""
    try:
        plan = msgspec.json.decode(body, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable(f"the serving plan cannot be read: {error}") from error
    if plan.plan_version < 1:
        raise Unusable(f"plan_version is {plan.plan_version}; it should be 1 or more")
    for name, workload in plan.workloads.items():
        _check(name, workload)
    return plan


def build_table(deployment: Deployment, plan: Plan | None, upstreams: Callable[[str], list[str]]) -> RoutingTable:
    """upstreams: the replicas of a base model, by its name in [models], for workloads without a plan."""
    workloads = {}
    for name, declared in deployment.workloads.items():
        planned = plan.workloads.get(name) if plan else None
        if planned is None:
            version = base_version_name(name, base_digest(deployment.models[declared.base].path))
            planned = PlannedWorkload([PlannedRoute(version, declared.base, 1.0)], upstreams(declared.base))
        workloads[name] = _workload_routes(name, planned, system_message(declared.system_prompt))
    return RoutingTable(plan.plan_version if plan else 0, workloads)


def _workload_routes(name: str, planned: PlannedWorkload, system_prompt: bytes | None) -> WorkloadRoutes:
    serving = [route for route in planned.routes if route.share > 0]
    routes = [
        Route(r.version, r.model, r.share, msgspec.json.encode(r.model), r.version.encode("ascii")) for r in serving
    ]
    ends = list(accumulate(route.share for route in routes))
    starts = [0.0, *(end / ends[-1] for end in ends[:-1])]
    return WorkloadRoutes(name, routes, starts, tuple(url.rstrip("/") for url in planned.upstreams), system_prompt)


def _check(name: str, workload: PlannedWorkload) -> None:
    shares = [route.share for route in workload.routes]
    if not all(math.isfinite(share) and 0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise Unusable(f"the plan's shares of {name} are {shares}; they should be 0-1 and sum to 1")
    for route in workload.routes:
        _check_version(name, route)
    if not workload.upstreams:
        raise Unusable(f"the plan names no upstream for {name}")
    for url in workload.upstreams:
        _check_url(name, url)


def _check_version(name: str, route: PlannedRoute) -> None:
    try:
        owner = workload_of(route.version)
    except ValueError as error:
        raise Unusable(f"the plan of {name}: {error}") from error
    if owner != name:
        raise Unusable(f"the plan of {name} names {route.version}, a version of {owner}")
    if not route.model:
        raise Unusable(f"the plan of {name} says no model name for {route.version}")


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Unusable(f"the plan of {name} has the upstream {url!r}; it should look like http://host:port")
