"""The file of `ratchet init` shows every key there is, with the value that holds where it is left out."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from services.cli.starter import SCHEMA, STARTER
from shared import scorer_options
from shared.workloads import Deployment, Model, Workload

UNCOMMENTED = re.sub(r"^# (?=\[|[a-z_]+ = )", "", STARTER, flags=re.M)
SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "models": ("tiny", Model),
    "workloads": ("support-triage", Workload),
}
FREE = {"workloads.scorer_options"}  # its keys are its scorer's


def shown(text: str) -> dict[str, Any]:
    """Dotted key without the names of sections -> value."""
    raw = tomllib.loads(text)
    return {k: v for key, (name, _) in SECTIONS.items() for k, v in flat(key, raw[key][name])}


def flat(where: str, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        inner = f"{where}.{key}"
        if isinstance(value, dict) and inner not in FREE:
            yield from flat(inner, value)
        else:
            yield inner, value


def fields(where: str, model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Dotted key -> default, as TOML would have it."""
    for key, field in model.model_fields.items():
        inner = f"{where}.{key}"
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)]
        section = next((k for k in kinds if issubclass(k, BaseModel)), None)
        if section is not None:
            yield from fields(inner, section)
        else:
            yield inner, list(field.default) if isinstance(field.default, tuple) else field.default


KNOWN = dict(pair for key, (_, model) in SECTIONS.items() for pair in fields(key, model))


def test_every_key_of_the_models_is_shown_and_no_other() -> None:
    assert set(shown(UNCOMMENTED)) == set(KNOWN)


def test_every_section_of_the_file_itself_is_shown() -> None:
    assert set(SECTIONS) == set(Deployment.model_fields) == set(tomllib.loads(STARTER))


@pytest.mark.parametrize("key", sorted(set(shown(UNCOMMENTED)) - set(shown(STARTER)) - FREE))
def test_a_commented_key_has_the_value_that_holds_anyway(key: str) -> None:
    value, line = shown(UNCOMMENTED)[key], next(x for x in STARTER.splitlines() if f"# {key.split('.')[-1]} = " in x)
    if KNOWN[key] is None:
        assert "none" in line
    else:
        assert value == KNOWN[key]
        assert "none" not in line


def test_every_scorer_and_the_options_of_the_one_that_is_set_are_named() -> None:
    for name in scorer_options.OPTIONS:
        assert f'"{name}"' in STARTER
    options = tomllib.loads(UNCOMMENTED)["workloads"]["support-triage"]["scorer_options"]
    assert options == {k: o.default for k, o in scorer_options.OPTIONS["json_fields"].items()}


def test_the_file_can_be_used_as_it_is_and_with_every_comment_taken_away() -> None:
    for text in (STARTER, UNCOMMENTED):
        raw = tomllib.loads(text)
        raw["workloads"]["support-triage"]["answer_schema"] = json.loads(SCHEMA)
        Deployment.model_validate(raw)
