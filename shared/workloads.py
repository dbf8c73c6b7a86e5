"""`ratchet.toml`: the models and workloads a deployment declares. Read once at start by every service.

A bad file is refused as a whole with every mistake in it: the key, the value found and what would be right (BadConfig).
`ratchet init` writes a commented file to start from.
"""

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
from apscheduler.triggers.cron import CronTrigger
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared import own_scorers, scorer_options
from shared.errors import BadConfig
from shared.field_words import in_words
from shared.gate_policy import Gate, Share
from shared.references import choice, resolve, unknown_bases
from shared.schema_references import broken_references
from shared.text import Text

MOST_SHOWN_CHARACTERS = 200

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def _is_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("should be made of a-z, 0-9 and -, at most 63 of them, the first no -; such as support-triage")
    return value


WorkloadName = Annotated[str, AfterValidator(_is_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Price(_Section):
    """What answers of a model cost, for the reports; nothing is billed by it."""

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "USD"
    prompt_million_tokens: Annotated[float, Field(ge=0)] = 0
    answer_million_tokens: Annotated[float, Field(ge=0)] = 0
    device_hour: Annotated[float, Field(ge=0)] = 0  # of the machine that answers


class Model(_Section):
    """A base model and what guards and refreshes its general ability."""

    path: str  # a hub name, a folder, or builtin:tiny
    general_suite: str | None = None  # JSONL of items it should go on getting right; None: no forgetting guard
    replay: str | None = None  # JSONL of general examples mixed into every training against forgetting
    price: Price | None = None  # None: reports count tokens and seconds only


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
    revisit_days: Annotated[int, Field(ge=1, le=36500)] = 30  # after that a question may come to the desk again


class Desk(_Section):
    """How experts are asked, at a desk where each has a login."""

    answers_per_item: Annotated[int, Field(ge=1, le=3)] = 1  # with two or more they have to agree
    gold: str | None = None  # JSONL of items with known verdicts, put among the others to score annotators
    gold_share: Share = 0.05  # of the items shown


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
                fires = CronTrigger.from_crontab(value, timezone="UTC").get_next_fire_time(None, datetime.now(UTC))
            except ValueError as error:
                raise ValueError(f'should be five cron fields such as "0 2 * * *" (UTC): {error}') from error
            if fires is None:
                raise ValueError('never comes; give a time that does, such as "0 2 * * *" (UTC)')
        return value


class Consistency(_Section):
    """How often an evaluation asks the same again, to see how steady the answers are."""

    answers: Annotated[int, Field(ge=0, le=50)] = 0  # drawn for each held-out item; 0: none
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.7  # what the application asks with

    @field_validator("answers")
    @classmethod
    def _can_disagree(cls, value: int) -> int:
        if value == 1:
            raise ValueError("should be 0 for none, or from 2 to 50: one answer agrees with itself")
        return value


class Workload(_Section):
    base: str  # a name of [models]
    system_prompt: Text | None = None
    answer_schema: dict[str, Any] | None = None
    scorer: str = "exact"
    scorer_options: dict[str, Any] = Field(default={}, validate_default=True)  # docs/scorers.md
    consistency: Consistency = Consistency()
    preset: str = "default"
    grouping: Grouping = Grouping()
    selection: Selection = Selection()
    desk: Desk = Desk()
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
            except RecursionError:
                raise ValueError("should be a JSON Schema, and is nested too deeply to be one") from None
            if broken := broken_references(value):
                raise ValueError("; ".join(broken))
        return value

    @field_validator("scorer")
    @classmethod
    def _is_scorer(cls, value: str) -> str:
        built_in = frozenset(scorer_options.OPTIONS)
        if found := own_scorers.clashes(built_in):
            raise ValueError("; ".join(found))
        if value not in built_in:
            installed = own_scorers.names()
            if value not in installed:
                raise ValueError(f"no such scorer; {choice(value, [*built_in, *installed])}")
            own_scorers.maker(value)
        return value

    @field_validator("scorer_options")
    @classmethod
    def _scorer_takes_them(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        scorer = info.data.get("scorer")
        if scorer in scorer_options.OPTIONS:
            found = scorer_options.mistakes(scorer, value)
            found += _tolerances_of_no_field(value, info.data.get("answer_schema")) if not found else []
            if found:
                raise ValueError("\n".join(found))
        elif scorer is not None:
            own_scorers.made(scorer, value)
        return value

    @model_validator(mode="after")
    def _scorer_has_its_schema(self) -> "Workload":
        if self.scorer == "json_fields" and self.answer_schema is None:
            raise ValueError('scorer "json_fields" needs an answer_schema; give one, or use scorer = "exact"')
        if self.scorer == "json_fields" and (other := _accepted_beside_objects(self.answer_schema or {})):
            raise ValueError(
                f'scorer "json_fields" scores JSON objects, but answer_schema accepts {other}; '
                'give the schema "type": "object", or use scorer = "exact"'
            )
        return self


def _accepted_beside_objects(schema: dict[str, Any]) -> str | None:
    """What else may be a right answer: by the schema's own word, else by trying."""
    kinds = schema.get("type")
    if kinds is not None and kinds not in ("object", ["object"]):
        return f"the type {json.dumps(kinds)}"
    validator = jsonschema.Draft202012Validator(schema)
    tried = {"an array": [], "a text": "", "a number": 0, "a truth value": True, "null": None}
    return next((name for name, value in tried.items() if validator.is_valid(value)), None)


def _tolerances_of_no_field(options: dict[str, Any], schema: dict[str, Any] | None) -> list[str]:
    """A misspelt field would silently stay strict."""
    fields = (schema or {}).get("properties")
    if not isinstance(fields, dict):
        return []
    return [
        f".tolerance.{name} is no field of answer_schema; {choice(name, list(fields))}"
        for name in options.get("tolerance", {})
        if name not in fields
    ]


class Deployment(_Section):
    """The whole file."""

    models: dict[str, Model]
    workloads: dict[WorkloadName, Workload]

    @model_validator(mode="after")
    def _names_resolve(self) -> "Deployment":
        if not self.workloads:
            raise ValueError("no workload is declared; add a section such as [workloads.support-triage]")
        if mistakes := unknown_bases({name: w.base for name, w in self.workloads.items()}, self.models):
            raise ValueError("\n".join(mistakes))
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
    mistakes = resolve(raw, path.parent)
    try:
        deployment = Deployment.model_validate(raw)
    except ValidationError as error:
        mistakes += [line for e in error.errors() for line in _sentences(e)]
    else:
        if not mistakes:
            return deployment
    lines = dict.fromkeys(mistakes)  # a base that is no section is found twice
    raise BadConfig(f"{path} has {len(lines)} mistake(s):\n" + "\n".join(f"  {line}" for line in lines))


def _sentences(error: Any) -> list[str]:
    said = in_words(error, of_keys="a table")
    if not error["loc"]:
        return said.splitlines()  # the file as a whole: each line names its key
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "dict_type" and error["loc"][-1] == "answer_schema":
        said = 'should be a file, such as "triage.schema.json", or a table'
    if error["type"] == "missing":
        return [f"{key} is missing; it is required"]
    if error["type"] == "extra_forbidden":
        known = choice(str(error["loc"][-1]), _keys_beside(error["loc"]))
        return [f"{key} is not a known key (it is set to {_shown(error['input'])}); {known}"]
    if said.startswith("."):  # of keys inside this one
        return [f"{key}{line}" for line in said.splitlines()]
    whole_section = error["type"] == "value_error" and isinstance(error["input"], dict)
    return [f"{key}: {said}" if whole_section else f"{key} is {_shown(error['input'])}: {said}"]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN_CHARACTERS else text[:MOST_SHOWN_CHARACTERS] + "..."


def _keys_beside(location: tuple[str | int, ...]) -> list[str]:
    """The keys known where an unknown one was found."""
    match location:
        case (_,):
            section: Any = Deployment
        case ("models", _, "price", _):
            section = Price
        case ("models", _, _):
            section = Model
        case ("workloads", _, str(name), _):
            section = Workload.model_fields[name].annotation
        case _:
            section = Workload
    return list(section.model_fields)
