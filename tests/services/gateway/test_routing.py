from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.routing import Plan, PlannedRoute, PlannedWorkload, WorkloadRoutes, build_table, read_plan
from shared.errors import Unusable
from shared.ids import base_digest, base_version_name
from shared.workloads import Deployment

DEPLOYMENT = Deployment.model_validate(
    {
        "models": {"tiny": {"path": "builtin:tiny"}},
        "workloads": {"triage": {"base": "tiny", "system_prompt": "Sort."}, "tone": {"base": "tiny"}},
    }
)
VERSIONS = [f"triage@{n:016x}" for n in range(4)]


def routes_of(*shares: float) -> WorkloadRoutes:
    routes = [PlannedRoute(v, v, s) for v, s in zip(VERSIONS, shares, strict=False)]
    plan = Plan(3, {"triage": PlannedWorkload(routes, ["http://h:1/"])})
    return build_table(DEPLOYMENT, plan, lambda _: []).workloads["triage"]


def test_a_workload_without_a_plan_is_answered_by_its_bare_base() -> None:
    table = build_table(DEPLOYMENT, None, lambda model: [f"http://{model}:1"])
    route = table.workloads["tone"].choose("any")
    assert table.plan_version == 0
    assert route.version == base_version_name("tone", base_digest("builtin:tiny"))
    assert (route.model, table.workloads["tone"].upstreams) == ("tiny", ("http://tiny:1",))


def test_a_planned_workload_leaves_the_others_on_their_bases() -> None:
    plan = Plan(3, {"triage": PlannedWorkload([PlannedRoute(VERSIONS[0], VERSIONS[0], 1.0)], ["http://h:1"])})
    table = build_table(DEPLOYMENT, plan, lambda _: ["http://base:1"])
    assert table.workloads["triage"].choose("x").version == VERSIONS[0]
    assert table.workloads["tone"].choose("x").version.startswith("tone@base-")


def test_shares_are_kept_over_many_conversations() -> None:
    chosen = Counter(routes_of(0.7, 0.2, 0.1).choose(f"c{n}").version for n in range(5000))
    assert [round(chosen[v] / 5000, 1) for v in VERSIONS] == [0.7, 0.2, 0.1, 0.0]


def test_a_route_without_a_share_is_never_chosen() -> None:
    assert {routes_of(0.5, 0.0, 0.5).choose(str(n)).version for n in range(200)} == {VERSIONS[0], VERSIONS[2]}


@settings(deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.text(max_size=20))
def test_a_growing_share_gives_no_conversation_back(one: float, other: float, conversation: str) -> None:
    small, large = sorted((one, other))
    before = routes_of(1 - small, small).choose(conversation).version
    after = routes_of(1 - large, large).choose(conversation).version
    assert after == VERSIONS[1] or before == VERSIONS[0]


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("http://127.0.0.1:8081", True),
        ("https://h", True),
        ("127.0.0.1:80", False),
        ("ftp://h", False),
        ("http://h:x", False),
    ],
)
def test_an_upstream_looks_like_a_url(url: str, fine: bool) -> None:
    workload = PlannedWorkload([PlannedRoute(VERSIONS[0], "m", 1.0)], [url])
    body = msgspec.json.encode(Plan(1, {"triage": workload}))
    if fine:
        assert read_plan(body).workloads["triage"].upstreams == [url]
    else:
        with pytest.raises(Unusable, match="should look like"):
            read_plan(body)
