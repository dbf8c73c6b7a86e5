"""A JSON object, field by field. Exact means: every expected field has the expected value, and there is no other field.

Order and spacing do not count, types do: "2" is not 2, true is not 1. The score is the share of right fields among
the expected and the surplus ones. Text around the object makes it unreadable: an application would have to parse it
too.
"""

import json
from collections.abc import Callable
from typing import Any

from training.suites.score import Score


def score(expected: str, answer: str, schema_check: Callable[[Any], bool] | None) -> Score:
    wanted: dict[str, Any] = json.loads(expected)
    given = _parsed(answer)
    schema_valid = None if schema_check is None else given is not _UNREADABLE and schema_check(given)
    if not isinstance(given, dict):
        return Score(0.0, False, dict.fromkeys(wanted, False), schema_valid)
    fields = {name: name in given and _same(value, given[name]) for name, value in wanted.items()}
    surplus = len(set(given) - set(wanted))
    parts = len(wanted) + surplus
    return Score(
        sum(fields.values()) / parts if parts else 1.0, all(fields.values()) and not surplus, fields, schema_valid
    )


def check_expected(expected: str) -> str | None:
    return None if isinstance(_parsed(expected), dict) else "the expected answer is not a JSON object"


_UNREADABLE = object()


def _parsed(text: str) -> Any:
    """The value, or _UNREADABLE; NaN and Infinity are not JSON, a name given twice is ambiguous."""
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _same(wanted: Any, given: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are one number, but no number is a truth value."""
    return json.dumps(_plain(wanted), sort_keys=True) == json.dumps(_plain(given), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
