"""Whether an answer keeps to its workload's JSON Schema: sentences for people, none when it does. Pure."""

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from shared import json_text

MOST_SENTENCES = 5


def schema_errors(text: str, schema: dict[str, Any] | None) -> list[str]:
    """schema: None means that any text is right. References are never fetched."""
    if schema is None:
        return []
    try:
        value = json_text.parse(text)
        validator = Draft202012Validator(schema, registry=Registry())
        errors = sorted(validator.iter_errors(value), key=lambda e: [str(part) for part in e.absolute_path])
    except ValueError as error:
        return [f"it is not JSON: {error}"]
    except Unresolvable as error:
        return [f"it cannot be checked: the workload's answer_schema refers to {error.ref!r}, which is not in it"]
    except RecursionError:
        return ["it is nested too deeply to be checked"]
    return [_sentence(list(e.absolute_path), e.message) for e in errors[:MOST_SENTENCES]]


def _sentence(path: list[Any], message: str) -> str:
    where = ".".join(str(part) for part in path)
    short = message if len(message) <= 300 else message[:300] + "..."
    return f"{where}: {short}" if where else short
