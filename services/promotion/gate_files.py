"""The gate on two files, behind `ratchet gate`: `python -m services.promotion.gate_files CHAMPION CANDIDATE`.

Needs no service, setting or database, and writes nothing but its verdict.
Ends with 0 PROMOTE, 1 REJECT, 2 INCONCLUSIVE, 3 unusable input (a sentence on standard error), 70 a bug here.
One look: other candidates tried on the same items are not counted, and no training snapshot is searched for leaks.
"""

import argparse
import dataclasses
import gc
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.promotion.gate import Outcome, Policy, Verdict, judge
from services.promotion.measurement import Side
from services.promotion.result_files import read_side
from shared.errors import Unusable
from shared.field_words import in_words
from shared.file_program import Parser, status_of
from shared.gate_policy import Gate
from shared.plain import shown

STATUS = {Outcome.PROMOTE: 0, Outcome.REJECT: 1, Outcome.INCONCLUSIVE: 2}


def main(arguments: Sequence[str] | None = None) -> int:
    return status_of(lambda: _answer(arguments))


def _answer(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    gc.disable()  # a short life with many small objects and no cycles: collecting them is a third of the time
    policy = read_policy(options.policy)
    champion, candidate = read_side(options.champion), read_side(options.candidate)
    verdict = judge_files(champion, candidate, policy)
    print(as_json(verdict, policy) if options.json else as_text(verdict))
    return STATUS[verdict.outcome]


def judge_files(champion: Side, candidate: Side, gate: Gate) -> Verdict:
    says_schema = any(item.schema_valid is not None for side in (champion, candidate) for item in side.holdout)
    policy = Policy(
        alpha=gate.alpha,
        floor=gate.floor,
        min_groups=gate.min_groups,
        general_margin=gate.general_margin,
        general_required=bool(champion.general or candidate.general),
        schema_required=says_schema,
        slice_margin=gate.slice_margin,
        slice_min_groups=gate.slice_min_groups,
        must_pass=gate.must_pass,
        length_change=gate.length_change,
        latency_ratio=gate.latency_ratio,
    )
    return judge(champion, candidate, policy, None)


def read_policy(file: Path | None) -> Gate:
    """The keys of ratchet.toml's [workloads.NAME.gate], at the top of the file; the defaults where there is no file."""
    if file is None:
        return Gate()
    from pydantic import ValidationError

    try:
        return Gate.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"{file} cannot be read as TOML: {error}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {in_words(e, of_keys='a table')}" for e in error.errors())
        raise Unusable(f"{file} is no policy: {said}; the keys are {', '.join(Gate.model_fields)}") from error


def as_text(verdict: Verdict) -> str:
    return "\n".join([str(verdict.outcome), *(f"- {shown(reason)}" for reason in verdict.reasons)])


def as_json(verdict: Verdict, policy: Gate) -> str:
    found: dict[str, Any] = {
        "verdict": verdict.outcome,
        "reasons": verdict.reasons,
        "figures": verdict.figures and dataclasses.asdict(verdict.figures),
        "guards": [dataclasses.asdict(guard) for guard in verdict.guards],
        "contamination": verdict.leakage and dataclasses.asdict(verdict.leakage),  # null: files tell of no training
        "broke": verdict.broke and dataclasses.asdict(verdict.broke),
        "policy": policy.model_dump(mode="json", exclude={"holdout_share", "alpha_budget", "holdout_growth"}),
    }
    return json.dumps(found, indent=1, allow_nan=False)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ratchet gate", description="Whether the candidate's results earn a promotion.")
    parser.add_argument("champion", type=Path)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
