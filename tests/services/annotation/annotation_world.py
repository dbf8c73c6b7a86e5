"""Annotation's handlers over real tables in a SQLite file, a clock that the test holds, and the outbox to read."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, select

from services.annotation import handlers, verdicts
from services.annotation.curation import Reason, VerdictWord
from services.annotation.desk import Verdict
from services.annotation.filling import fill
from services.annotation.grouping import group_key, split_of
from services.annotation.local_desk import LocalDesk
from services.annotation.tables import ExampleRow, SampleRow
from shared.db import OutboxRow, open_database, transaction
from shared.events import AnswerServed, Event, FeedbackGiven, decode
from shared.outbox import Outbox
from shared.workloads import Workload
from tests.databases import of_folder

SCHEMA = {"type": "object", "required": ["queue"], "properties": {"queue": {"type": "string"}}}

Row = TypeVar("Row", bound=SQLModel)


def a_workload(**changes: Any) -> Workload:
    """Every training-side answer is audited, the budget is ample, half the groups are held out."""
    defaults: dict[str, Any] = {
        "base": "tiny",
        "selection": {"daily_budget": 1000, "audit_share": 1.0},
        "gate": {"holdout_share": 0.5, "min_groups": 20},
    }
    return Workload(**{**defaults, **changes})


def a_question(number: int) -> str:
    """Questions that share no word 3-gram, so each is a group of its own."""
    letters = "".join("abcdefghij"[int(digit)] for digit in f"{number:04d}")
    return f"What about {letters}one {letters}two {letters}three {letters}four?"


@dataclass
class World:
    engine: Engine
    workloads: Mapping[str, Workload]
    clock: list[str] = field(default_factory=lambda: ["2026-11-20T10:00:00.000000Z"])
    ticks: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def in_folder(cls, folder: Path, **workloads: Workload) -> "World":
        engine = open_database(of_folder(folder), "annotation")
        return cls(engine, {name.replace("_", "-"): w for name, w in (workloads or {"triage": a_workload()}).items()})

    def now(self) -> str:
        return f"{self.clock[-1][:19]}.{next(self.ticks):06d}Z"

    def desk(self, hold_seconds: float = 0.0) -> LocalDesk:
        return LocalDesk(self.engine, self.workloads, service="annotation", now=self.now, hold_seconds=hold_seconds)

    def hears(self, event: AnswerServed | FeedbackGiven) -> None:
        with transaction(self.engine) as session:
            if isinstance(event, AnswerServed):
                handlers.store_answer(event, session, workloads=self.workloads, now=self.now)
            else:
                handlers.keep_feedback(event, session, workloads=self.workloads, now=self.now)

    def answered(self, answer_id: str, prompt: str, answer: str = '{"queue": "net"}', **more: Any) -> SampleRow:
        more = {"workload": "triage", "version": "triage@base-00000000", **more}
        messages = more.pop("messages", [{"role": "system", "content": "Triage."}, {"role": "user", "content": prompt}])
        self.hears(AnswerServed(answer_id=answer_id, messages=messages, answer=answer, **more))
        return self.sample(answer_id)

    def disliked(self, answer_id: str, feedback_id: str = "f1") -> None:
        self.hears(FeedbackGiven(feedback_id=feedback_id, answer_id=answer_id, thumb="down"))

    def fill(self) -> int:
        return fill(self.engine, self.desk(), self.workloads, self.now)

    def verdict(
        self, sample_id: str, verdict: VerdictWord = "fix", ideal: str | None = '{"queue": "power"}', **more: Any
    ) -> verdicts.Recorded:
        """Recorded as from a desk that cannot answer, so curation says what a person could have mended."""
        given = Verdict(
            sample_id,
            verdict,
            ideal,
            frozenset(Reason(r) for r in more.pop("reasons", ())),
            more.pop("annotator", "ada"),
            more.pop("comment", None),
        )
        with transaction(self.engine) as session:
            outbox = Outbox(session, "annotation")
            return verdicts.record_verdict(given, session, outbox, workloads=self.workloads, now=self.now)

    def corrected(self, answer_id: str, prompt: str, verdict: VerdictWord = "fix", **more: Any) -> verdicts.Recorded:
        """Answered, shown and given a verdict."""
        self.answered(answer_id, prompt)
        self.fill()
        return self.verdict(answer_id, verdict, **more)

    def sample(self, answer_id: str) -> SampleRow:
        with transaction(self.engine) as session:
            row = session.get(SampleRow, answer_id)
        assert row is not None
        return row

    def states(self) -> dict[str, str]:
        return {row.answer_id: row.state for row in self.rows(SampleRow)}

    def examples(self, state: str = "active") -> list[ExampleRow]:
        return [row for row in self.rows(ExampleRow) if row.state == state]

    def facts(self) -> list[Event]:
        return [decode(row.value)[1] for row in sorted(self.rows(OutboxRow), key=lambda row: row.id or 0)]

    def prompt_in(self, split: str, start: int = 0) -> str:
        """A question whose group falls into this split."""
        return next(self.prompts_in(split, start))

    def prompts_in(self, split: str, start: int = 0) -> Iterator[str]:
        workload = next(iter(self.workloads.values()))
        for number in itertools.count(start):
            prompt = a_question(number)
            key = group_key([{"role": "user", "content": prompt}], None, workload.grouping)
            if split_of(key.digest, workload.gate.holdout_share) == split:
                yield prompt

    def rows(self, table: type[Row]) -> list[Row]:
        with transaction(self.engine) as session:
            return list(session.exec(select(table)))

    def session(self) -> AbstractContextManager[Session]:
        return transaction(self.engine)
