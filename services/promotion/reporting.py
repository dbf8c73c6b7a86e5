"""The promotion report of one verdict: its data filled in, and sealed with its page in `reports/<version>/`.

Twice: the same candidate, champion and evaluation keep the report that is there; any other replaces it, since a report
counts only once its version's row names it.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.promotion import guards, report_findings
from services.promotion.evaluation_reading import HOLDOUT, Evaluation, Line, prompt_of
from services.promotion.gate import Figures, Outcome, Verdict
from services.promotion.ledger import Account
from services.promotion.measurement import exact_share, valid_share
from services.promotion.report_data import (
    Changed,
    FieldScores,
    General,
    Guard,
    Holdout,
    Ledger,
    Paired,
    Policy,
    Report,
    SideScores,
    Training,
)
from services.promotion.statistics import wilson_interval
from services.promotion.tables import ModelRow
from shared.artifacts import MANIFEST, is_valid, path_of, read_manifest, sha256_of, writing
from shared.errors import ArtifactInvalid, Unavailable
from shared.events import utc_now
from shared.gate_policy import Gate

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
_SHOWN = 12  # items of each kind in the page; the counts are complete
_OUTCOMES: dict[Outcome, Literal["PROMOTE", "REJECT", "INCONCLUSIVE"]] = {
    Outcome.PROMOTE: "PROMOTE",
    Outcome.REJECT: "REJECT",
    Outcome.INCONCLUSIVE: "INCONCLUSIVE",
}


@dataclass(frozen=True, slots=True)
class Case:
    """What a verdict was about."""

    row: ModelRow
    champion: str
    gate: Gate
    job_id: str | None = None
    holdout_uri: str | None = None
    holdout_snapshot_id: str | None = None
    evaluation: Evaluation | None = None  # None: there is none, or it cannot be read
    account: Account | None = None  # None: the figures were never looked at


def seal_report(artifacts: Path, case: Case, verdict: Verdict, render: Callable[[Report], str]) -> Path:
    """The sealed folder. render: the page of a report.

    A full disk is Unavailable: the verdict waits until it can be written down.
    """
    folder = artifacts / "reports" / case.row.version
    facts: dict[str, Any] = {
        "workload": case.row.workload,
        "version": case.row.version,
        "champion": case.champion,
        "verdict": str(verdict.outcome),
        "job_id": case.job_id,
        "alpha_spent_before": case.account and case.account.spent,
    }
    try:
        _drop_another(folder, facts)
        report = fill_report(case, verdict)
        with writing(folder, "report", facts) as draft:
            (draft / REPORT_JSON).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", "utf-8")
            (draft / REPORT_HTML).write_bytes(render(report).encode("utf-8", "replace"))  # lone surrogates in answers
    except OSError as error:
        raise Unavailable(f"the report cannot be written below {artifacts}: {error}") from error
    return folder


def report_sha256(folder: Path) -> str:
    """The hash that the audit log keeps: of the manifest, which holds those of the files."""
    return sha256_of(folder / MANIFEST)


def fill_report(case: Case, verdict: Verdict) -> Report:
    row, evaluation = case.row, case.evaluation
    better, worse = _changed(case) if evaluation else ([], [])
    training = _training(row)
    return Report(
        workload=row.workload,
        version=row.version,
        champion=case.champion,
        verdict=_OUTCOMES[verdict.outcome],
        reasons=list(verdict.reasons),
        decided_at=utc_now(),
        policy=Policy(
            alpha=case.gate.alpha,
            floor=case.gate.floor,
            min_groups=case.gate.min_groups,
            general_margin=case.gate.general_margin,
            holdout_share=case.gate.holdout_share,
            slice_margin=case.gate.slice_margin,
            slice_min_groups=case.gate.slice_min_groups,
            must_pass=list(case.gate.must_pass),
            length_change=case.gate.length_change,
            alpha_budget=case.gate.budget,
            holdout_growth=case.gate.holdout_growth,
        ),
        ledger=_ledger(case, case.account, verdict) if case.account else None,
        holdout=_holdout(case, evaluation, verdict.figures) if evaluation and verdict.figures else None,
        guards=[_guard(guard) for guard in verdict.guards],
        general=_general(case, evaluation) if evaluation and verdict.figures else None,
        training=training,
        examples_better=better,
        examples_worse=worse,
        lineage={
            "run_uri": row.run_uri,
            "snapshot_id": row.snapshot_id,
            "snapshot_uri": row.snapshot_uri,
            "examples": training["examples"] if training else None,
            "base": row.base,
            "evaluation_uri": evaluation.uri if evaluation else None,
            "holdout_uri": case.holdout_uri,
            "adapter_sha256": row.adapter_sha256,
        },
        contamination=report_findings.contamination(verdict.leakage) if verdict.leakage else None,
        broke=report_findings.broke(verdict.broke) if verdict.broke else None,
        harness_sha256=evaluation.side(row.version).harness_sha256 or None if evaluation else None,
    )


def _ledger(case: Case, account: Account, verdict: Verdict) -> Ledger:
    looked = verdict.looked
    return Ledger(
        holdout_version=account.holdout.number,
        spent_before=account.spent,
        spent=case.gate.alpha if looked else 0.0,
        budget=account.budget,
        decisions=account.decisions + looked,
        groups_needed=account.needed if looked else account.missing,
    )


def _drop_another(folder: Path, facts: dict[str, Any]) -> None:
    if not is_valid(folder, "report"):
        return
    manifest = read_manifest(folder)
    if any(manifest.get(key) != value for key, value in facts.items()):
        shutil.rmtree(folder)


def _guard(guard: guards.Guard) -> Guard:
    return Guard(
        name=guard.name,
        champion=guard.champion,
        candidate=guard.candidate,
        margin=guard.margin,
        difference=guard.difference,
        bound=guard.bound,
        passed=guard.passed,
        why=guard.why,
        unit=guard.unit,
        worse_is=guard.worse_is,
    )


def _holdout(case: Case, evaluation: Evaluation, figures: Figures) -> Holdout:
    champion, candidate = (evaluation.of(v, HOLDOUT) for v in (case.champion, case.row.version))
    table = figures.paired
    return Holdout(
        snapshot_id=case.holdout_snapshot_id or "",
        items=figures.items,
        groups=figures.groups,
        champion=_side_scores(evaluation, case.champion, figures.champion_interval),
        candidate=_side_scores(evaluation, case.row.version, figures.candidate_interval),
        per_field=_per_field(champion, candidate),
        paired=Paired(
            both=table.both,
            only_champion=table.only_champion,
            only_candidate=table.only_candidate,
            neither=table.neither,
        ),
        gain=figures.gain,
        gain_interval=list(figures.gain_interval),
        interval_method=figures.interval_method,
        test=figures.test,
        p_value=figures.p_value,
        mcnemar_p=figures.mcnemar_p,
        scorer=evaluation.manifest.get("suites", {}).get(HOLDOUT, {}).get("scorer"),
        schema_checked=evaluation.manifest.get("settings", {}).get("schema") is not None,
    )


def _side_scores(evaluation: Evaluation, version: str, interval: tuple[float, float]) -> SideScores:
    items = evaluation.side(version).holdout
    return SideScores(
        exact=exact_share(items),
        fields=_mean(_field_values(evaluation.of(version, HOLDOUT))),
        schema_valid=valid_share(items),
        interval=list(interval),
    )


def _per_field(champion: Sequence[Line], candidate: Sequence[Line]) -> list[FieldScores]:
    names = list(dict.fromkeys(name for line in (*candidate, *champion) for name in line.fields or {}))
    return [
        FieldScores(name=name, champion=_field(champion, name), candidate=_field(candidate, name)) for name in names
    ]


def _field(lines: Sequence[Line], name: str) -> float | None:
    """An answer that could not be read has no fields: none of them is right."""
    return _mean([float((line.fields or {}).get(name, False)) for line in lines])


def _field_values(lines: Iterable[Line]) -> list[float]:
    """Each item's share of right fields; empty where nothing has fields."""
    lines = list(lines)
    if all(line.fields is None for line in lines):
        return []
    return [_mean([float(right) for right in (line.fields or {}).values()]) or 0.0 for line in lines]


def _general(case: Case, evaluation: Evaluation) -> General | None:
    champion, candidate = (evaluation.side(v).general for v in (case.champion, case.row.version))
    if not champion:
        return None
    first, second = (sum(i.value for i in items) for items in (champion, candidate))
    return General(
        items=len(champion),
        champion=first / len(champion),
        candidate=second / len(candidate),
        champion_interval=list(wilson_interval(first, len(champion))),
        candidate_interval=list(wilson_interval(second, len(candidate))),
    )


def _changed(case: Case) -> tuple[list[Changed], list[Changed]]:
    assert case.evaluation is not None
    before = {line.item: line for line in case.evaluation.of(case.champion, HOLDOUT)}
    after = {line.item: line for line in case.evaluation.of(case.row.version, HOLDOUT)}
    shared = sorted(before.keys() & after.keys())
    better = [item for item in shared if after[item].exact and not before[item].exact]
    worse = [item for item in shared if before[item].exact and not after[item].exact]
    shown = [[_change(before[i], after[i]) for i in items[:_SHOWN]] for items in (better, worse)]
    return shown[0], shown[1]


def _change(before: Line, after: Line) -> Changed:
    return Changed(
        item=after.item,
        prompt=prompt_of(after),
        expected=after.expected,
        champion_answer=_answer(before),
        candidate_answer=_answer(after),
    )


def _answer(line: Line) -> str:
    return f"(no answer: {line.error})" if line.answer is None else line.answer


def _training(row: ModelRow) -> Training | None:
    """From the run's manifest and metrics; what is missing or unreadable there is "no figure"."""
    if row.run_uri is None:
        return None
    folder = path_of(row.run_uri)
    try:
        manifest = read_manifest(folder)
    except ArtifactInvalid:
        return None
    losses, dev_losses = _losses(folder / "metrics.jsonl")
    return Training(
        preset=row.preset or "",
        examples=_number(manifest.get("examples"), int),
        replay=_number(manifest.get("replay_items"), int),
        steps=_number(manifest.get("steps"), int),
        seconds=_number(manifest.get("seconds"), float),
        final_loss=_number(manifest.get("final_loss"), float),
        losses=losses,
        dev_losses=dev_losses,
        seed=_number(manifest.get("seed"), int),
        base=base if isinstance(base := manifest.get("base"), str) else None,
    )


def _losses(file: Path) -> tuple[list[list[float]], list[list[float]]]:
    curves: dict[str, list[list[float]]] = {"loss": [], "dev_loss": []}
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return [], []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            for key, curve in curves.items():
                if _number(entry.get(key), float) is not None:
                    curve.append([float(entry["step"]), float(entry[key])])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a half-written line costs a point of the curve, not the report
    return curves["loss"], curves["dev_loss"]


def _number(value: Any, kind: Any) -> Any:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return kind(value) if usable else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
