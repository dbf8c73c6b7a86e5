"""A small world for promotion's tests: a deployment, sealed folders as the other parts write them, its neighbours."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import select

from services.promotion.candidacy import Candidacy
from services.promotion.fleet import Fleet
from services.promotion.handlers import note_evaluation, note_failure, register_candidate
from services.promotion.reconcile import Reconciler
from services.promotion.report import render_report
from services.promotion.repository import Registry
from services.promotion.serving import SERVICE, Stewardship
from services.promotion.settings import PromotionSettings
from services.promotion.tables import ModelRow, WorkRow
from shared.artifacts import path_of, read_manifest, sha256_of, sha256_of_files, uri_of, writing
from shared.db import OutboxRow, open_database, transaction
from shared.errors import Unavailable, Unusable
from shared.events import CandidateTrained, Event, JobFailed, VersionsEvaluated, decode
from shared.ids import version_name
from shared.outbox import Outbox
from shared.workloads import read_deployment
from tests.databases import of_folder

WORKLOAD = "triage"
HARNESS = "5" * 64
GROUPS = 40
GENERAL = 200


def write_config(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "general.jsonl").write_text("{}\n")
    file = folder / "ratchet.toml"
    file.write_text(
        '[models.tiny]\npath = "builtin:tiny"\ngeneral_suite = "general.jsonl"\n'
        f'[workloads.{WORKLOAD}]\nbase = "tiny"\n'
        f"[workloads.{WORKLOAD}.gate]\nmin_groups = {GROUPS}\n"
    )
    return file


def seal_run(artifacts: Path, job_id: str, *, train_groups: Sequence[str] = ("train-1", "train-2")) -> CandidateTrained:
    """A training snapshot and a run as the scheduler would announce them; another job_id, another adapter."""
    snapshot = artifacts / "snapshots" / f"train-{job_id}"
    with writing(snapshot, "snapshot", {"split": "train"}) as draft:
        lines = [json.dumps({"id": f"{g}-example", "group": g, "kind": "fix", "messages": []}) for g in train_groups]
        (draft / "examples.jsonl").write_text("\n".join(lines) + "\n")
    facts: dict[str, Any] = {
        "base": "tiny",
        "examples": 200,
        "replay_items": 200,
        "steps": 4,
        "seconds": 9.5,
        "seed": 0,
    }
    run = artifacts / "runs" / job_id
    with writing(run, "run", facts) as draft:
        adapter = draft / "adapter"
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text("{}")
        (adapter / "adapter_model.safetensors").write_text(f"weights of {job_id}")
        metrics = [{"step": n, "loss": 2.0 / n} for n in (1, 2, 3, 4)] + [{"step": 4, "loss": 0.5, "dev_loss": 0.6}]
        (draft / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics) + '{"step": 5, "lo')
        digest = sha256_of_files({f.name: {"sha256": sha256_of(f)} for f in adapter.iterdir()})
        facts["adapter_sha256"] = digest
    return CandidateTrained(
        job_id=job_id,
        workload=WORKLOAD,
        version=version_name(WORKLOAD, digest),
        run_uri=uri_of(run),
        adapter_sha256=digest,
        base="tiny",
        preset="default",
        snapshot_id=snapshot.name,
        snapshot_uri=uri_of(snapshot),
    )


@dataclass
class Annotation:
    """Annotation's one call; the holdout has the groups of these numbers."""

    artifacts: Path
    numbers: range = range(GROUPS)
    calls: int = 0
    away: bool = False
    refuses: str | None = None

    def post(self, path: str, body: Any) -> Any:
        self.calls += 1
        if self.away:
            raise Unavailable("annotation is away")
        if self.refuses:
            raise Unusable(self.refuses)
        assert (path, body) == ("/v1/snapshots", {"workload": WORKLOAD, "split": "holdout"})
        folder = self.artifacts / "snapshots" / f"holdout-{self.numbers.start}-{self.numbers.stop}"
        with writing(folder, "snapshot", {"split": "holdout"}) as draft:
            lines = [json.dumps({"id": f"h{n:03}", "group": f"hold-{n:03}", "messages": []}) for n in self.numbers]
            (draft / "examples.jsonl").write_text("\n".join(lines) + "\n")
        return {"snapshot_id": folder.name, "uri": uri_of(folder), "groups": len(self.numbers)}


@dataclass
class Scheduler:
    """The scheduler's one call: same order, same job. `scores` says how many holdout and general items are right."""

    artifacts: Path
    scores: dict[str, tuple[int, int]] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False
    spoil: Any = None  # called with (version, line) before a line is written

    def post(self, path: str, body: Any) -> Any:
        if self.away:
            raise Unavailable("the scheduler is away")
        assert (path, body["kind"]) == ("/v1/jobs", "evaluate")
        if body not in self.orders:
            self.orders.append(body)
        return {"job_id": f"evaluation-{self.orders.index(body)}", "state": "queued"}

    def evaluate(self, number: int = -1) -> VersionsEvaluated:
        """Runs an order: the sealed folder, and the event that tells of it."""
        order = self.orders[number]
        job_id = f"evaluation-{self.orders.index(order)}"
        versions = [v["version"] for v in order["versions"]]
        measured = {v["version"]: {"adapter_sha256": _adapter_sha256(v["run_uri"])} for v in order["versions"]}
        folder = self.artifacts / "evaluations" / job_id
        with writing(folder, "evaluation", {"harness_sha256": HARNESS, "versions": measured}) as draft:
            ordered = (path_of(order["holdout_uri"]) / "examples.jsonl").read_text().splitlines()
            items = [json.loads(line) for line in ordered]
            lines = [json.dumps(line) for version in versions for line in self._lines(version, items)]
            (draft / "items.jsonl").write_text("\n".join(lines) + "\n")
        return VersionsEvaluated(job_id=job_id, workload=WORKLOAD, evaluation_uri=uri_of(folder), versions=versions)

    def _lines(self, version: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        holdout, general = self.scores.get(version, (0, GENERAL - 2))
        lines = [_line(version, "holdout", i["id"], i["group"], n < holdout) for n, i in enumerate(items)]
        lines += [_line(version, "general", f"g{n:03}", "kind", n < general) for n in range(GENERAL)]
        if self.spoil is not None:
            lines = [line for line in lines if self.spoil(version, line) is not False]
        return lines


def _adapter_sha256(run_uri: str | None) -> str | None:
    return None if run_uri is None else str(read_manifest(path_of(run_uri))["adapter_sha256"])


def _line(version: str, suite: str, item: str, group: str, right: bool) -> dict[str, Any]:
    return {
        "version": version,
        "suite": suite,
        "item": item,
        "group": group,
        "slice": None,
        "score": float(right),
        "exact": right,
        "fields": {"queue": right, "severity": True},
        "schema_valid": None,
        "messages": [{"role": "user", "content": f"ticket {item} <script>alert(1)</script>"}],
        "expected": "network 2",
        "answer": "network 2" if right else "unknown 2",
        "answer_tokens": 3,
        "seconds": 0.1,
        "error": None,
    }


@dataclass
class Stage:
    """Promotion without its threads: a test takes each step itself."""

    folder: Path
    upstreams: list[str]
    settings: PromotionSettings = field(default_factory=lambda: PromotionSettings(replica_timeout_seconds=1.0))
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.artifacts = self.folder / "artifacts"
        self.fleet = Fleet(read_deployment(write_config(self.folder)), lambda _: self.upstreams)
        self.annotation = Annotation(self.artifacts)
        self.scheduler = Scheduler(self.artifacts)
        self.begin()

    def begin(self) -> None:
        """As a new process would, on the same database."""
        self.engine: Engine = open_database(of_folder(self.folder), "promotion")
        self.reconciler = Reconciler(self.engine, self.fleet, self.settings, clock=lambda: self.now)
        self.stewardship = Stewardship(self.engine, self.fleet, self.reconciler)
        self.candidacy = Candidacy(
            engine=self.engine,
            fleet=self.fleet,
            artifacts=self.artifacts,
            annotation=self.annotation,
            scheduler=self.scheduler,
            stewardship=self.stewardship,
            render=render_report,
            load_attempts=self.settings.load_attempts,
            clock=lambda: self.now,
        )
        self.stewardship.start()

    def end(self) -> None:
        self.reconciler.close()
        self.engine.dispose()

    def hear(self, event: Event) -> None:
        with transaction(self.engine) as session:
            outbox = Outbox(session, SERVICE)
            match event:
                case CandidateTrained():
                    register_candidate(event, session, outbox, fleet=self.fleet)
                case VersionsEvaluated():
                    note_evaluation(event, session, outbox)
                case JobFailed():
                    note_failure(event, session, outbox)

    def step(self) -> None:
        """One step of every candidate; time passes, so nothing is put off."""
        self.now += 60
        self.candidacy.advance_all()

    def bring(self, event: CandidateTrained, *, right: int, general: int = GENERAL - 2) -> str:
        """A candidate all the way: heard of, measured with these scores, judged, and promoted if it may be."""
        self.scheduler.scores[event.version] = (right, general)
        self.hear(event)
        self.step()
        self.hear(self.scheduler.evaluate())
        self.step()
        self.step()
        return event.version

    def row(self, version: str) -> ModelRow:
        with transaction(self.engine) as session:
            row = Registry(session).model(version)
        assert row is not None
        return row

    def work(self, version: str) -> WorkRow | None:
        with transaction(self.engine) as session:
            return Registry(session).work(version)

    def champion(self) -> str:
        with transaction(self.engine) as session:
            champion = Registry(session).champion(WORKLOAD)
        assert champion is not None
        return champion.version

    def plan(self) -> tuple[int, str]:
        """Its number and the version it routes the workload to."""
        with transaction(self.engine) as session:
            plan = Registry(session).plan()
        assert plan is not None
        routes = plan.workloads[WORKLOAD]["routes"]
        assert len(routes) == 1
        return plan.plan_version, str(routes[0]["version"])

    def chain(self) -> list[Any]:
        with transaction(self.engine) as session:
            return Registry(session).chain()

    def events(self) -> list[Event]:
        """Everything in the outbox, in order."""
        with transaction(self.engine) as session:
            return [decode(row.value)[1] for row in session.exec(select(OutboxRow)).all()]
