from pathlib import Path

import pytest

from services.annotation.desk import Source, Verdict
from services.annotation.desk_figures import desk_figures
from services.annotation.opinions import asked, disputes, record_opinion, unseen
from services.annotation.tables import CorrectionRow, DisputeRow, OpinionRow
from shared.events import ExampleCurated, SampleCorrected
from shared.outbox import Outbox
from tests.services.annotation.annotation_world import SCHEMA, World, a_workload

pytestmark = pytest.mark.usefixtures("database")

NET, POWER, PHONES = '{"queue": "net"}', '{"queue": "power"}', '{"queue": "phones"}'


class Desk:
    """Responses as a far desk would tell of them, each with an id and a time of its last change."""

    def __init__(self, folder: Path, answers_per_item: int = 2) -> None:
        workload = a_workload(answer_schema=SCHEMA, desk={"answers_per_item": answers_per_item})
        self.world = World.in_folder(folder, triage=workload)
        self.world.answered("a1", self.world.prompt_in("train"), answer=NET)
        self.world.fill()
        self.changes = 0

    def says(self, annotator: str, verdict: str, ideal: str | None = None, *, final: bool = False) -> bool:
        self.changes += 1
        given = Verdict(
            "a1",
            verdict,  # type: ignore[arg-type]
            ideal,
            frozenset(),
            annotator,
            None,
            Source(f"response of {annotator}", f"t{self.changes:03d}", final),
        )
        return self.tell(given)

    def tell(self, given: Verdict) -> bool:
        assert given.source is not None
        with self.world.session() as session:
            outbox = Outbox(session, "annotation")
            return record_opinion(
                given, given.source, session, outbox, workloads=self.world.workloads, now=self.world.now
            )

    def outcomes(self) -> dict[str, str]:
        """The last word of each annotator."""
        rows = sorted(self.world.rows(CorrectionRow), key=lambda row: row.correction_id)
        return {row.annotator: row.outcome for row in rows}

    def standing(self) -> list[tuple[str, str | None]]:
        return [
            (row.verdict, row.ideal)
            for row in self.world.rows(CorrectionRow)
            if row.superseded_by is None and row.outcome not in ("awaits_another", "disputed")
        ]

    def facts(self) -> list[type]:
        return [type(fact) for fact in self.world.facts()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_one_opinion_of_two_teaches_nothing_yet(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    assert desk.outcomes() == {"ada": "awaits_another"}
    assert desk.facts() == []
    assert desk.world.states() == {"a1": "waiting"}


def test_two_who_agree_make_one_example(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    desk.says("bob", "fix", '{"queue":  "power"}')
    assert desk.outcomes() == {"ada": "example", "bob": "settled"}
    assert desk.standing() == [("fix", POWER)]
    assert desk.facts() == [SampleCorrected, ExampleCurated]
    assert desk.world.states() == {"a1": "done"}


def test_a_dispute_goes_to_a_reviewer_whose_word_counts(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    desk.says("bob", "good")
    assert desk.outcomes() == {"ada": "disputed", "bob": "disputed"}
    with desk.world.session() as session:
        [(sample, said)] = disputes(session, 10)
        assert (sample.answer_id, [c.annotator for c in said]) == ("a1", ["ada", "bob"])
        asked(session, ["a1"])
    with desk.world.session() as session:
        assert disputes(session, 10) == []
        assert desk_figures(session, "triage").disputed == 1
    desk.says("rita", "fix", PHONES, final=True)
    assert desk.standing() == [("fix", PHONES)]
    assert desk.outcomes() == {"ada": "settled", "bob": "settled", "rita": "example"}
    assert [row.state for row in desk.world.rows(DisputeRow)] == ["closed"]


def test_after_a_reviewer_nobody_else_changes_the_verdict(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    desk.says("bob", "good")
    desk.says("rita", "fix", PHONES, final=True)
    desk.says("ada", "good")
    assert desk.standing() == [("fix", PHONES)]
    assert desk.outcomes()["ada"] == "overruled"
    desk.says("rita", "discard", final=True)
    assert desk.standing() == [("discard", None)]
    assert desk.world.examples() == []


def test_who_comes_round_ends_the_dispute(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    desk.says("bob", "good")
    desk.says("bob", "fix", POWER)
    assert desk.standing() == [("fix", POWER)]
    assert [row.state for row in desk.world.rows(DisputeRow)] == ["closed"]


def test_who_leaves_an_agreement_opens_a_dispute_and_the_example_stays_meanwhile(desk: Desk) -> None:
    desk.says("ada", "fix", POWER)
    desk.says("bob", "fix", POWER)
    desk.says("bob", "discard")
    assert desk.standing() == [("fix", POWER)]
    assert [row.state for row in desk.world.rows(DisputeRow)] == ["open"]
    assert len(desk.world.examples()) == 1


def test_a_response_told_again_changes_nothing(desk: Desk) -> None:
    assert desk.says("ada", "fix", POWER)
    desk.changes -= 1
    assert not desk.says("ada", "fix", POWER)
    assert len(desk.world.rows(CorrectionRow)) == 1
    [row] = desk.world.rows(OpinionRow)
    source = Source(row.response_id, row.changed_at)
    known = Verdict("a1", "fix", POWER, frozenset(), "ada", None, source)
    changed = Verdict("a1", "good", None, frozenset(), "ada", None, Source(row.response_id, "later"))
    with desk.world.session() as session:
        assert unseen(session, [known, changed]) == [changed]


def test_a_response_to_a_sample_that_is_not_here_is_noted_once(desk: Desk) -> None:
    given = Verdict("gone", "good", None, frozenset(), "ada", None, Source("r1", "t1"))
    assert desk.tell(given)
    assert not desk.tell(given)
    assert [row.correction_id for row in desk.world.rows(OpinionRow)] == [None]


def test_a_response_proves_that_its_sample_was_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answers_per_item=1)
    desk.world.answered("a2", desk.world.prompt_in("train", start=500), answer=NET)
    assert desk.world.states()["a2"] == "nominated"
    assert desk.tell(Verdict("a2", "good", None, frozenset(), "ada", None, Source("r2", "t2")))
    assert desk.world.states()["a2"] == "done"
    assert len(desk.world.examples()) == 1


def test_good_with_an_edited_text_is_refused_also_when_it_was_kept_first(desk: Desk) -> None:
    desk.says("ada", "good", POWER)
    desk.says("bob", "good", NET)
    [refused] = [row for row in desk.world.rows(CorrectionRow) if row.outcome == "rejected"]
    assert (refused.annotator, refused.refusal) == ("ada", "edited")
