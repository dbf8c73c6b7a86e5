"""A JSON object, field by field. Exact means: every expected field has the expected value, and there is no other field.

Order and spacing do not count, types do: "2" is not 2, true is not 1. A field with a tolerance is right when it is near
enough: numbers `absolute` or `relative` to the expected one, ISO 8601 dates and times within `days` or `seconds`. The
score is the share of right fields among the expected and the surplus ones. Text around the object makes it unreadable:
an application would have to parse it too.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared import json_text
from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer

Tolerance = Mapping[str, Mapping[str, float]]  # field -> {"absolute": 0.01} and the like


def make(options: Options, schema_check: SchemaCheck | None) -> Scorer:
    tolerance: Tolerance = options["tolerance"]

    def scorer(attempt: Attempt) -> Score:
        return score(attempt.expected, attempt.answer, schema_check, tolerance)

    return scorer


def score(
    expected: str, answer: str, schema_check: Callable[[Any], bool] | None, tolerance: Tolerance | None = None
) -> Score:
    near = tolerance or {}
    wanted: dict[str, Any] = json_text.parse(expected)
    given = _parsed(answer)
    schema_valid = None if schema_check is None else given is not _UNREADABLE and schema_check(given)
    if not isinstance(given, dict):
        return Score(0.0, False, dict.fromkeys(wanted, False), schema_valid)
    fields = {name: name in given and _fits(value, given[name], near.get(name)) for name, value in wanted.items()}
    surplus = len(set(given) - set(wanted))
    parts = len(wanted) + surplus
    return Score(
        sum(fields.values()) / parts if parts else 1.0, all(fields.values()) and not surplus, fields, schema_valid
    )


def canonical(answer: str) -> str | None:
    """One text for all answers that say the same JSON; None where it is no JSON."""
    value = _parsed(answer)
    return None if value is _UNREADABLE else json.dumps(_plain(value), sort_keys=True)


def check_expected(expected: str) -> str | None:
    return None if isinstance(_parsed(expected), dict) else "the expected answer is not a JSON object"


_UNREADABLE = object()


def _parsed(text: str) -> Any:
    try:
        return json_text.parse(text)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _fits(wanted: Any, given: Any, allowed: Mapping[str, float] | None) -> bool:
    if _same(wanted, given):
        return True
    if allowed is None:
        return False
    ((kind, most),) = allowed.items()
    apart = _numbers_apart(wanted, given) if kind in ("absolute", "relative") else _seconds_apart(wanted, given)
    if apart is None:
        return False
    scale = {"absolute": 1.0, "seconds": 1.0, "days": 86400.0}.get(kind)
    limit = most * (abs(wanted) if scale is None else scale)
    return apart <= limit + (4 * math.ulp(wanted) if isinstance(wanted, (int, float)) else 0)  # 0.1 + 0.2 is 0.3


def _numbers_apart(wanted: Any, given: Any) -> float | None:
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in (wanted, given)):
        return None
    try:
        return abs(float(given) - float(wanted))
    except OverflowError:
        return None


def _seconds_apart(wanted: Any, given: Any) -> float | None:
    """None unless both are ISO 8601; a time without an offset is read as UTC, on both sides."""
    if not isinstance(wanted, str) or not isinstance(given, str):
        return None
    try:
        first, second = (_utc(text) for text in (wanted, given))
    except (ValueError, OverflowError):
        return None
    return abs((second - first) / timedelta(seconds=1))


def _utc(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _same(wanted: Any, given: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are one number, but no number is a truth value."""
    return json.dumps(_plain(wanted), sort_keys=True) == json.dumps(_plain(given), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
