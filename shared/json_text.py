"""JSON as its readers must agree on it: what one program reads as a value, no other reads otherwise. Pure."""

import json
from typing import Any


def parse(text: str) -> Any:
    """Raises ValueError where it is no JSON, for NaN and Infinity, and for a name that stands in an object twice.

    RecursionError where it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once_each)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands in one object twice")
    return found
