import json
import shutil
from typing import Any

import pytest

from services.promotion import candidacy, serving
from services.promotion.audit import verify_chain
from services.promotion.reporting import seal_report
from services.promotion.tables import ASKED, PROMOTING, WANTED
from shared.artifacts import path_of, verify
from shared.errors import Unusable
from shared.events import CandidateJudged, JobFailed, PlanChanged, StageChanged
from tests.services.promotion.model_server_double import ModelServerDouble
from tests.services.promotion.stage_set import GENERAL, GROUPS, WORKLOAD, Stage, seal_run


def test_a_workload_starts_with_its_bare_base_in_the_plan(stage: Stage) -> None:
    assert stage.champion() == stage.fleet.bare_base(WORKLOAD)
    assert stage.plan() == (1, stage.champion())
    stage.begin()
    assert stage.plan()[0] == 1


def test_a_better_candidate_is_loaded_everywhere_and_then_serves(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    base = stage.champion()
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    assert stage.row(version).verdict == "PROMOTE"
    assert stage.champion() == version
    assert stage.plan() == (2, version)
    assert all(version in server.adapters for server in servers)
    assert stage.row(base).stage == "RETIRED"
    assert stage.work(version) is None
    kinds = [type(event) for event in stage.events()[2:]]
    assert kinds == [StageChanged, StageChanged, CandidateJudged, StageChanged, StageChanged, PlanChanged]
    assert verify_chain(stage.chain()) is None


def test_the_report_holds_figures_losses_and_the_items_that_changed(stage: Stage) -> None:
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    folder = path_of(stage.row(version).report_uri or "")
    assert folder == stage.artifacts / "reports" / version
    verify(folder, "report")
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"] == "PROMOTE"
    assert report["holdout"]["candidate"]["exact"] == pytest.approx(36 / GROUPS)
    assert report["holdout"]["champion"]["fields"] == pytest.approx(0.5)
    assert report["holdout"]["mcnemar_p"] < 0.001
    assert report["training"]["losses"][0] == [1.0, 2.0]
    assert report["training"]["dev_losses"] == [[4.0, 0.6]]
    assert len(report["examples_better"]) == 12
    assert report["examples_worse"] == []
    page = (folder / "report.html").read_text()
    assert version in page
    assert "<script>alert(1)</script>" not in page


def test_a_rejected_candidate_never_reaches_the_plan(stage: Stage, servers: list[ModelServerDouble]) -> None:
    base = stage.champion()
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=2)
    assert stage.row(version).stage == "REJECTED"
    assert stage.plan() == (1, base)
    assert all(server.adapters == {} for server in servers)


def test_one_that_forgot_is_rejected_in_words(stage: Stage) -> None:
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=40, general=20)
    row = stage.row(version)
    assert row.stage == "REJECTED"
    assert row.reasons[0] == "forgot: general ability fell from 99.0% to 10.0% of 200 items, the margin is 3 points"


def test_hearing_everything_twice_changes_nothing(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    version = stage.bring(event, right=36)
    before = (stage.plan(), len(stage.events()), len(stage.chain()))
    stage.hear(event)
    stage.hear(stage.scheduler.evaluate())
    stage.step()
    stage.step()
    assert (stage.plan(), len(stage.events()), len(stage.chain())) == before
    assert stage.row(version).stage == "CHAMPION"


def test_an_evaluation_heard_of_before_its_order_was_noted_still_counts(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (36, 198)
    stage.hear(event)
    body = {
        "kind": "evaluate",
        "workload": WORKLOAD,
        "versions": [
            {"version": stage.champion(), "run_uri": None},
            {"version": event.version, "run_uri": event.run_uri},
        ],
        "holdout_uri": stage.annotation.post("/v1/snapshots", {"workload": WORKLOAD, "split": "holdout"})["uri"],
    }
    stage.scheduler.post("/v1/jobs", body)
    stage.hear(stage.scheduler.evaluate())
    for _ in range(3):
        stage.step()
    assert len(stage.scheduler.orders) == 1
    assert stage.champion() == event.version


def test_a_failed_evaluation_is_inconclusive_with_its_reason(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.hear(event)
    stage.step()
    failed = JobFailed(job_id="evaluation-0", kind="evaluate", workload=WORKLOAD, reason="out of memory", attempts=3)
    stage.hear(failed)
    stage.step()
    row = stage.row(event.version)
    assert (row.stage, row.verdict) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert row.reasons == ["the evaluation failed: out of memory (after 3 attempt(s))"]
    assert "out of memory" in (path_of(row.report_uri or "") / "report.html").read_text()


def test_a_failed_training_is_not_taken_for_an_evaluation(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.hear(event)
    stage.step()
    stage.hear(JobFailed(job_id="evaluation-0", kind="train", workload=WORKLOAD, reason="boom", attempts=3))
    stage.step()
    assert stage.row(event.version).stage == "EVALUATING"


@pytest.mark.parametrize("neighbour", ["annotation", "scheduler"])
def test_while_a_neighbour_is_away_the_candidate_waits_and_then_goes_on(stage: Stage, neighbour: str) -> None:
    getattr(stage, neighbour).away = True
    event = seal_run(stage.artifacts, "job-1")
    stage.hear(event)
    stage.step()
    work = stage.work(event.version)
    assert work is not None
    assert (work.state, work.attempts) == (WANTED, 1)
    assert "away" in (work.error or "")
    assert stage.row(event.version).stage == "CANDIDATE"
    getattr(stage, neighbour).away = False
    stage.step()
    assert stage.row(event.version).stage == "EVALUATING"


def test_without_a_holdout_the_verdict_is_inconclusive(stage: Stage) -> None:
    stage.annotation.refuses = "no holdout example of triage yet"
    event = seal_run(stage.artifacts, "job-1")
    stage.hear(event)
    stage.step()
    row = stage.row(event.version)
    assert row.stage == "INCONCLUSIVE"
    assert "no holdout example of triage yet" in row.reasons[0]


def test_a_candidate_is_measured_again_when_the_champion_changed_meanwhile(stage: Stage) -> None:
    first, second = (seal_run(stage.artifacts, f"job-{n}") for n in (1, 2))
    for event in (first, second):
        stage.scheduler.scores[event.version] = (36, 198)
        stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate(0))
    stage.hear(stage.scheduler.evaluate(1))
    stage.step()
    stage.step()
    assert stage.champion() == first.version
    stage.step()
    assert len(stage.scheduler.orders) == 3
    assert [v["version"] for v in stage.scheduler.orders[2]["versions"]] == [first.version, second.version]
    stage.hear(stage.scheduler.evaluate())
    stage.step()
    assert stage.row(second.version).stage == "REJECTED"
    assert stage.row(second.version).measured_against == first.version
    report = json.loads((stage.artifacts / "reports" / second.version / "report.json").read_text())
    assert report["champion"] == first.version


def test_a_champion_that_changes_while_the_report_is_written_makes_the_verdict_void(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = stage.bring(seal_run(stage.artifacts, "job-0"), right=0)
    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (3, 198)
    stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate())

    def overtaken(*arguments: Any) -> Any:
        stage.stewardship.promote_by_hand(other, who="mara", why="meanwhile", override=True)
        return seal_report(*arguments)

    monkeypatch.setattr(candidacy, "seal_report", overtaken)
    stage.step()
    monkeypatch.undo()
    assert stage.row(event.version).stage == "EVALUATING"
    stage.step()
    stage.step()
    assert [v["version"] for v in stage.scheduler.orders[-1]["versions"]] == [other, event.version]


def test_an_evaluation_that_took_another_adapter_is_inconclusive(stage: Stage) -> None:
    event, other = (seal_run(stage.artifacts, f"job-{n}") for n in (1, 2))
    stage.hear(event)
    stage.step()
    stage.scheduler.orders[0]["versions"][1]["run_uri"] = other.run_uri
    stage.hear(stage.scheduler.evaluate())
    stage.step()
    assert stage.row(event.version).stage == "INCONCLUSIVE"
    assert "another adapter" in stage.row(event.version).reasons[0]


def test_a_leak_of_the_holdout_is_rejected(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1", train_groups=("train-1", "hold-007"))
    stage.bring(event, right=40)
    row = stage.row(event.version)
    assert row.stage == "REJECTED"
    assert row.reasons[0].startswith("leak: 1 holdout group(s)")


def test_what_only_the_champion_was_trained_on_refuses_the_candidate_too(stage: Stage) -> None:
    first = seal_run(stage.artifacts, "job-1", train_groups=("train-1", "hold-041"))
    assert stage.bring(first, right=20) == stage.champion()
    stage.annotation.numbers = range(GROUPS + 10)  # group 41 came into the holdout afterwards
    second = seal_run(stage.artifacts, "job-2")
    stage.scheduler.scores[first.version] = (20, GENERAL - 2)
    stage.bring(second, right=40)
    row = stage.row(second.version)
    assert row.stage == "REJECTED"
    assert row.reasons[0].startswith("leak: 1 holdout group(s)")
    report = json.loads((stage.artifacts / "reports" / second.version / "report.json").read_text())
    assert report["contamination"]["groups"] == ["hold-041"]
    assert report["contamination"]["versions"] == [second.version, first.version]


def _nan(version: str, line: dict[str, Any]) -> None:
    if line["item"] == "h003" and "@base" not in version:
        line["score"] = float("nan")


def _missing(version: str, line: dict[str, Any]) -> bool:
    return not (line["item"] == "h003" and "@base" not in version)


def _missing_on_both(_version: str, line: dict[str, Any]) -> bool:
    return bool(line["item"] != "h003")


def _errors(version: str, line: dict[str, Any]) -> None:
    if line["item"] in ("h003", "h004") and "@base" not in version:
        line["error"] = "prompt too long"


def _misshapen(version: str, line: dict[str, Any]) -> None:
    if line["item"] == "h003":
        line["exact"] = "yes"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_nan, "no number from 0 to 1"),
        (_missing, "1 of its items are missing"),
        (_missing_on_both, "1 of its items are missing"),
        (_errors, "ended in an error"),
        (_misshapen, "items.jsonl, line 4"),
    ],
)
def test_a_hole_in_the_evaluation_is_inconclusive(stage: Stage, spoil: Any, said: str) -> None:
    stage.scheduler.spoil = spoil
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=40)
    row = stage.row(version)
    assert row.stage == "INCONCLUSIVE"
    assert said in row.reasons[0]


@pytest.mark.parametrize("folder", ["evaluations/evaluation-0/items.jsonl", "snapshots/train-job-1/examples.jsonl"])
def test_a_damaged_folder_is_inconclusive(stage: Stage, folder: str) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (36, 198)
    stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate())
    with (stage.artifacts / folder).open("a") as stream:
        stream.write("\n")
    stage.step()
    assert stage.row(event.version).stage == "INCONCLUSIVE"
    assert "not the file the manifest describes" in stage.row(event.version).reasons[0]


def test_a_damaged_adapter_is_never_loaded(stage: Stage, servers: list[ModelServerDouble]) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (36, 198)
    stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate())
    stage.step()
    (path_of(event.run_uri) / "adapter" / "adapter_model.safetensors").write_text("scribble")
    stage.step()
    row = stage.row(event.version)
    assert (row.stage, row.verdict) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert row.reasons[0].startswith("passed the gate, but cannot be served")
    assert all(server.calls == [] for server in servers)
    assert stage.plan()[0] == 1


def test_a_candidate_whose_name_is_not_its_hash_is_unusable(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    with pytest.raises(Unusable, match="not the name of an adapter"):
        stage.hear(type(event)(**{**_fields(event), "adapter_sha256": "0" * 64}))
    with pytest.raises(Unusable, match="not declared"):
        stage.hear(type(event)(**{**_fields(event), "workload": "unknown"}))


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


class Killed(BaseException):
    """The process ends here; nothing after it runs, as with kill -9."""


POINTS = [
    (candidacy, "verified_adapter"),
    (candidacy.Candidacy, "_ordered"),
    (candidacy, "read_evaluation"),
    (candidacy, "seal_report"),
    (candidacy.Candidacy, "_write_verdict"),
    (candidacy, "report_sha256"),
    (serving, "crown"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "name"), POINTS, ids=[name for _, name in POINTS])
def test_killed_at_any_point_the_way_goes_on_and_ends_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
) -> None:
    real = getattr(owner, name)

    def dies(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (36, 198)
    stage.hear(event)
    monkeypatch.setattr(owner, name, dies)
    deaths = 0
    for _ in range(4):
        if stage.scheduler.orders:
            stage.hear(stage.scheduler.evaluate())
        try:
            stage.step()
        except Killed:
            deaths += 1
            break
    assert deaths == 1
    monkeypatch.setattr(owner, name, real)
    stage.begin()
    for _ in range(4):
        if stage.scheduler.orders:
            stage.hear(stage.scheduler.evaluate())
        stage.step()
    assert stage.plan() == (2, event.version)
    assert len(stage.scheduler.orders) == 1
    judged = [e for e in stage.events() if isinstance(e, CandidateJudged)]
    assert [e.verdict for e in judged] == ["PROMOTE"]
    edges = [(e.before, e.after) for e in stage.events() if isinstance(e, StageChanged) and e.version == event.version]
    assert edges == [("NEW", "CANDIDATE"), ("CANDIDATE", "EVALUATING"), ("EVALUATING", "CHAMPION")]
    assert verify_chain(stage.chain()) is None


def test_without_a_model_server_a_promotion_waits(stage: Stage, servers: list[ModelServerDouble]) -> None:
    for server in servers:
        server.broken["/v1/models"] = 500
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    work = stage.work(version)
    assert work is not None
    assert work.state == PROMOTING
    assert stage.plan()[0] == 1
    servers[0].broken.clear()
    stage.step()
    assert stage.plan() == (2, version)


def test_a_replica_that_fails_to_load_holds_the_plan_back_until_promotion_gives_up(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    servers[1].broken["/v1/load_lora_adapter"] = 500
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    for _ in range(stage.settings.load_attempts):
        assert stage.plan()[0] == 1
        stage.step()
    assert stage.row(version).stage == "INCONCLUSIVE"
    assert "could not be loaded" in stage.row(version).reasons[0]


def test_a_replica_that_refuses_an_adapter_ends_its_promotion(stage: Stage, servers: list[ModelServerDouble]) -> None:
    servers[1].broken["/v1/load_lora_adapter"] = 400
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    assert stage.row(version).stage == "INCONCLUSIVE"
    assert stage.plan()[0] == 1


def test_vllms_500_about_an_adapter_is_a_refusal_and_about_its_memory_is_not(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    servers[1].broken["/v1/load_lora_adapter"] = 500
    vllm = "Call to add_lora method failed: Worker failed with error '{}', please check the stack trace above"
    servers[1].says = vllm.format("CUDA out of memory. Tried to allocate 20.00 MiB")
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    work = stage.work(version)
    assert work is not None
    assert work.state == PROMOTING
    servers[1].says = vllm.format("LoRA rank 32 is greater than max_lora_rank 16.")
    stage.step()
    assert stage.row(version).stage == "INCONCLUSIVE"
    assert "rank 32 is greater than max_lora_rank 16" in stage.row(version).reasons[0]
    assert "raise max_lora_rank there, or train with a smaller r" in stage.row(version).reasons[0]


def test_an_adapter_that_a_server_cannot_find_asks_for_the_same_path_there(
    stage: Stage, servers: list[ModelServerDouble]
) -> None:
    servers[1].broken["/v1/load_lora_adapter"] = 404
    servers[1].says = "Loading lora a failed: No adapter found for <path>"
    version = stage.bring(seal_run(stage.artifacts, "job-1"), right=36)
    assert "can that server read the folder under the same path?" in stage.row(version).reasons[0]


def test_a_report_that_cannot_be_written_lets_the_candidate_wait(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    stage.scheduler.scores[event.version] = (36, 198)
    stage.hear(event)
    stage.step()
    stage.hear(stage.scheduler.evaluate())
    (stage.artifacts / "reports").write_text("in the way")
    stage.step()
    work = stage.work(event.version)
    assert work is not None
    assert work.state == ASKED
    assert "report cannot be written" in (work.error or "")
    (stage.artifacts / "reports").unlink()
    stage.step()
    assert stage.row(event.version).verdict == "PROMOTE"


def test_a_report_folder_left_half_written_is_replaced(stage: Stage) -> None:
    event = seal_run(stage.artifacts, "job-1")
    folder = stage.artifacts / "reports" / event.version
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{")
    stage.bring(event, right=36)
    verify(folder, "report")
    shutil.rmtree(folder)
