"""A desk on the shared stack's Argilla for each test, in a workspace and with accounts of its own."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.annotation.argilla_desk import ArgillaDesk
from tests.real.argilla.desk_world import Argilla, DeskWorld
from tests.real.stack import RunningStack
from tests.services.annotation.annotation_world import SCHEMA, World, a_workload

DeskOf = Callable[..., DeskWorld]


@pytest.fixture(scope="module")
def argilla(servers: RunningStack) -> Argilla:
    servers.need("argilla", "argilla-worker")
    addresses = servers.addresses()
    return Argilla(addresses["RATCHET_DESK_URL"].removeprefix("argilla+"), addresses["RATCHET_DESK_API_KEY"])


@pytest.fixture
def desk_of(argilla: Argilla, tmp_path: Path) -> Iterator[DeskOf]:
    """`desk_of(annotators=("ada",))`: set up, nothing on it."""
    with _desks(argilla, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def desk(argilla: Argilla, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskWorld]:
    """One for tests that only add to it; it knows ada and bob."""
    with _desks(argilla, tmp_path_factory.mktemp("desk")) as make:
        yield make(annotators=("ada", "bob"))


@contextmanager
def _desks(argilla: Argilla, tmp_path: Path) -> Iterator[DeskOf]:
    made: list[DeskWorld] = []

    def make(
        annotators: tuple[str, ...] = ("ada",),
        reviewers: tuple[str, ...] = (),
        webhook_url: str | None = None,
        **workload: Any,
    ) -> DeskWorld:
        workspace = f"t{secrets.token_hex(4)}"
        folder = tmp_path / workspace
        folder.mkdir()
        world = World.in_folder(folder, triage=a_workload(**{"answer_schema": SCHEMA, **workload}))
        desk = ArgillaDesk(
            argilla.url, argilla.api_key, workspace, world.workloads, sweep_seconds=3600, webhook_url=webhook_url
        )
        made.append(DeskWorld(world, argilla, workspace, desk))
        names = made[-1].username
        desk.setup([names(a) for a in annotators], [names(r) for r in reviewers])
        return made[-1]

    yield make
    for one in made:
        for hook in argilla.get("/webhooks")["items"]:
            argilla.call("DELETE", f"/webhooks/{hook['id']}")
        for workspace in argilla.workspaces() & {one.workspace, f"{one.workspace}-review"}:
            for dataset_id in argilla.datasets(workspace).values():
                argilla.call("DELETE", f"/datasets/{dataset_id}")
