"""Annotation's tables with a real Argilla as their desk, and annotators who answer by its API."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlmodel import col, select

from services.annotation.argilla_desk import ArgillaDesk
from services.annotation.filling import ask_reviewers, collect, fill
from services.annotation.repository import OPEN
from services.annotation.tables import CorrectionRow, OpinionRow
from shared.errors import Unavailable
from tests.services.annotation.annotation_world import World

NET, POWER = '{"queue": "net"}', '{"queue": "power"}'


@dataclass
class Argilla:
    """The server, as its owner."""

    url: str
    api_key: str

    def call(self, method: str, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        headers = {"X-Argilla-Api-Key": key or self.api_key}
        return httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, **{"timeout": 60, **arguments})

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params).raise_for_status().json()

    def key_of(self, username: str) -> str:
        return str(next(u["api_key"] for u in self.get("/users")["items"] if u["username"] == username))

    def workspaces(self) -> set[str]:
        return {w["name"] for w in self.get("/me/workspaces")["items"]}

    def datasets(self, workspace: str) -> dict[str, str]:
        """Ids by name."""
        [space] = [w for w in self.get("/me/workspaces")["items"] if w["name"] == workspace]
        return {d["name"]: d["id"] for d in self.get("/me/datasets")["items"] if d["workspace_id"] == space["id"]}

    def records(self, dataset_id: str) -> dict[str, dict[str, Any]]:
        """What its database has, by sample."""
        items = self.get(f"/datasets/{dataset_id}/records", include="responses", limit=1000)["items"]
        return {item["external_id"]: item for item in items}


@dataclass
class DeskWorld:
    world: World
    argilla: Argilla
    workspace: str
    desk: ArgillaDesk
    keys: dict[str, str] = field(default_factory=dict)

    def shown(self, *answer_ids: str, answer: str = NET) -> None:
        """Answered, and on the desk."""
        prompts = self.world.prompts_in("train", start=len(self.world.states()) * 50)
        for answer_id in answer_ids:
            self.world.answered(answer_id, next(prompts), answer=answer)
        self.fill()

    def fill(self) -> int:
        return fill(self.world.engine, self.desk, self.world.workloads, self.world.now)

    def collect(self) -> int:
        return collect(self.world.engine, self.desk, self.world.workloads, self.world.now, "annotation")

    def turn(self) -> None:
        """What the desk's loop does in one turn."""
        self.collect()
        ask_reviewers(self.world.engine, self.desk)
        self.fill()

    def turn_until(self, holds: Callable[[], bool], seconds: float = 90) -> None:
        """As the loop does: a desk that is away is asked again."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(Unavailable):
                self.turn()
            if holds():
                return
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)

    def dataset(self, workload: str = "triage", review: bool = False) -> str:
        """Id of the newest version."""
        found = self.argilla.datasets(f"{self.workspace}-review" if review else self.workspace)
        names = sorted(n for n in found if n.startswith(f"{workload}.review.v" if review else f"{workload}.v"))
        return found[names[-1]]

    def key(self, annotator: str) -> str:
        if annotator not in self.keys:
            self.keys[annotator] = self.argilla.key_of(self.username(annotator))
        return self.keys[annotator]

    def username(self, annotator: str) -> str:
        """Accounts are the whole server's, so each test has its own."""
        return f"{annotator}-{self.workspace}"

    def says(
        self,
        annotator: str,
        sample_id: str,
        verdict: str = "fix",
        ideal: str | None = POWER,
        *,
        reasons: tuple[str, ...] = (),
        review: bool = False,
    ) -> httpx.Response:
        """Submits, discards, or changes what the annotator said before."""
        record = self.argilla.records(self.dataset(review=review))[sample_id]
        me = self.argilla.call("GET", "/me", key=self.key(annotator)).json()["id"]
        mine = [r["id"] for r in record["responses"] if r["user_id"] == me]
        values: dict[str, Any] = {}
        if verdict != "discard":
            values["verdict"] = {"value": verdict}
        if ideal is not None:
            values["ideal"] = {"value": ideal}
        if reasons:
            values["reasons"] = {"value": list(reasons)}
        body = {"status": "discarded" if verdict == "discard" else "submitted", "values": values}
        if mine:
            return self.argilla.call("PUT", f"/responses/{mine[0]}", key=self.key(annotator), json=body)
        return self.argilla.call("POST", f"/records/{record['id']}/responses", key=self.key(annotator), json=body)

    def corrections(self) -> list[CorrectionRow]:
        return sorted(self.world.rows(CorrectionRow), key=lambda row: row.correction_id)

    def stands(self) -> dict[str, tuple[str, str | None]]:
        """Verdict and ideal that count, by sample."""
        return {c.sample_id: (c.verdict, c.ideal) for c in self.corrections() if c.superseded_by is None}

    def standing(self) -> dict[str, tuple[str, str | None]]:
        """The same without those that await another opinion or a reviewer."""
        return {
            c.sample_id: (c.verdict, c.ideal)
            for c in self.corrections()
            if c.superseded_by is None and c.outcome not in OPEN
        }

    def assert_equal_to_argilla(self) -> None:
        """Each response of its database is one opinion here, with what it says now, and one correction that says so."""
        theirs = {}
        datasets = [
            dataset_id
            for workspace in self.argilla.workspaces() & {self.workspace, f"{self.workspace}-review"}
            for dataset_id in self.argilla.datasets(workspace).values()
        ]
        for dataset_id in datasets:
            for sample_id, record in self.argilla.records(dataset_id).items():
                for response in record["responses"]:
                    theirs[response["id"]] = (sample_id, response["updated_at"], _said(response))
        with self.world.session() as session:
            query = select(OpinionRow, CorrectionRow).join(
                CorrectionRow, col(CorrectionRow.correction_id) == OpinionRow.correction_id
            )
            ours = {
                o.response_id: (o.sample_id, o.changed_at, (c.verdict, c.ideal if c.verdict == "fix" else None))
                for o, c in session.exec(query).all()
            }
            correction_ids = [o.correction_id for o in session.exec(select(OpinionRow)).all()]
        assert ours == theirs
        assert len(set(correction_ids)) == len(correction_ids)


def _said(response: dict[str, Any]) -> tuple[str, str | None]:
    if response["status"] == "discarded":
        return "discard", None
    verdict = response["values"]["verdict"]["value"]
    return verdict, response["values"]["ideal"]["value"] if verdict == "fix" else None
