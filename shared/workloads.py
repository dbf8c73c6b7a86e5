"""`ratchet.toml`: the models and workloads a deployment declares. Read once at start by every service.

A bad file is refused as a whole with every mistake in it: the key, the value found and what would be right (BadConfig).
`ratchet init` writes a commented file to start from.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from shared.errors import BadConfig

Share = Annotated[float, Field(ge=0, le=1)]
WorkloadName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Model(_Section):
    """A base model and what guards and refreshes its general ability."""

    path: str  # a hub name, a folder, or builtin:tiny
    general_suite: str | None = None  # JSONL of items it should go on getting right; None: no forgetting guard
    replay: str | None = None  # JSONL of general examples mixed into every training against forgetting


class Grouping(_Section):
    """Which prompts mean the same and so stay on one side of the holdout border."""

    key: Literal["prompt", "metadata.group"] = "prompt"
    ignore_digits: bool = True  # "ticket 17" and "ticket 18" are one group
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.8  # Jaccard of word 3-grams that joins; 1 joins only equal ones


class Selection(_Section):
    """What is worth an expert's minute."""

    daily_budget: Annotated[int, Field(ge=1)] = 100
    audit_share: Share = 0.05  # of the training side, picked at random
    low_confidence: Share = 0.6  # geometric-mean token probability below which an answer is nominated


class Trigger(_Section):
    """When a training starts by itself."""

    min_new_examples: Annotated[int, Field(ge=1)] = 50
    cron: str | None = None  # five fields, UTC: "0 2 * * *"
    cooldown_minutes: Annotated[float, Field(ge=0)] = 60

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                CronTrigger.from_crontab(value, timezone="UTC")
            except ValueError as error:
                raise ValueError(f'should be five cron fields such as "0 2 * * *" (UTC): {error}') from error
        return value


class Gate(_Section):
    """What a candidate must show before it serves."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    floor: Share = 0.03  # the least observed gain on the holdout
    min_groups: Annotated[int, Field(ge=20)] = 200
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    general_margin: Share = 0.03  # how much general ability may fall


class Workload(_Section):
    base: str  # a name of [models]
    system_prompt: str | None = None
    answer_schema: dict[str, Any] | None = None
    scorer: Literal["exact", "json_fields"] = "exact"
    preset: str = "default"
    grouping: Grouping = Grouping()
    selection: Selection = Selection()
    trigger: Trigger = Trigger()
    gate: Gate = Gate()

    @field_validator("answer_schema")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            try:
                jsonschema.Draft202012Validator.check_schema(value)
            except jsonschema.SchemaError as error:
                raise ValueError(f"should be a JSON Schema (draft 2020-12): {error.message}") from error
        return value

    @model_validator(mode="after")
    def _scorer_has_its_schema(self) -> "Workload":
        if self.scorer == "json_fields" and self.answer_schema is None:
            raise ValueError('scorer "json_fields" needs an answer_schema; give one, or use scorer = "exact"')
        return self


class Deployment(_Section):
    """The whole file."""

    models: dict[str, Model]
    workloads: dict[WorkloadName, Workload]

    @model_validator(mode="after")
    def _names_resolve(self) -> "Deployment":
        if not self.workloads:
            raise ValueError("no workload is declared; add a section such as [workloads.support-triage]")
        for name, workload in self.workloads.items():
            if workload.base not in self.models:
                known = ", ".join(sorted(self.models)) or "none"
                raise ValueError(
                    f"workloads.{name}.base is {workload.base!r}, which is no section of [models]; known: {known}"
                )
        return self

    def model_of(self, workload: str) -> Model:
        return self.models[self.workloads[workload].base]


def read_deployment(path: Path) -> Deployment:
    """The file's content; BadConfig with every mistake when it cannot be used.

    `answer_schema = "triage.schema.json"` and relative file paths are resolved beside the file.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path} does not exist; `ratchet init` writes one to start from") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"{path} cannot be read as TOML: {error}") from error
    try:
        return Deployment.model_validate(_resolved(raw, path.parent))
    except ValidationError as error:
        lines = [_sentence(e) for e in error.errors()]
        raise BadConfig(f"{path} has {len(lines)} mistake(s):\n" + "\n".join(f"  {line}" for line in lines)) from error


def _resolved(raw: dict[str, Any], beside: Path) -> dict[str, Any]:
    """Paths made absolute and schema files read, where the shapes are right; the rest is left for validation."""
    models, workloads = raw.get("models"), raw.get("workloads")
    for name, model in models.items() if isinstance(models, dict) else ():
        for key in ("path", "general_suite", "replay") if isinstance(model, dict) else ():
            if isinstance(model.get(key), str):
                model[key] = _located(f"models.{name}.{key}", model[key], beside, must_exist=key != "path")
    for name, workload in workloads.items() if isinstance(workloads, dict) else ():
        if isinstance(workload, dict) and isinstance(workload.get("answer_schema"), str):
            workload["answer_schema"] = _read_schema(
                f"workloads.{name}.answer_schema", workload["answer_schema"], beside
            )
    return raw


def _located(key: str, value: str, beside: Path, *, must_exist: bool) -> str:
    """Built-in and hub names stay as they are; a path becomes absolute."""
    if value.startswith("builtin:"):
        return value
    path = beside / Path(value).expanduser()
    if path.exists():
        return str(path.resolve())
    if must_exist:
        raise BadConfig(f"{key} is {value!r}, but {path} does not exist; give a file, or leave the key out")
    return value


def _read_schema(key: str, value: str, beside: Path) -> Any:
    path = beside / value
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadConfig(f"{key} is {value!r}, but {path} cannot be read as JSON: {error}") from error


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or "the file"
    found = "" if error["type"] in ("missing", "value_error") and not error["loc"] else f" is {error['input']!r}"
    if error["type"] == "missing":
        return f"{key} is missing; it is required"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a known key; check its spelling"
    return f"{key}{found if len(found) < 200 else ''}: {error['msg'].removeprefix('Value error, ')}"
