"""The suites of one evaluation, as its command line names them: items, their scorer and its options.

An item that its scorer cannot score is left out for every version and said. Fails: Unusable, naming the flag, the
suite, the item and what would be right; also where more than one item in fifty cannot be scored.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.errors import Unusable
from training.examples import EXAMPLES, Example, read_suite
from training.suites import Chosen, choose
from training.suites.score import SchemaCheck

# One item that nobody can score shall not stop every promotion; more of them are another holdout than was drawn.
MOST_LEFT_OUT = 0.02


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    scorer: Chosen
    items: list[Example]
    sha256: str
    left_out: dict[str, str]  # item -> why it cannot be scored


def read_suites(
    texts: Sequence[str], options: Sequence[str], schema_check: SchemaCheck | None, find: Callable[[str], Path]
) -> list[Suite]:
    """texts: NAME=FILE_OR_FOLDER[:scorer]; options: NAME=FILE or NAME={...}; find: where a file's name leads."""
    names = [text.partition("=")[0] for text in distinct(texts, "--suite")]
    told = read_options(options, names)
    return [_suite(text, told, schema_check, find) for text in texts]


def distinct(texts: Sequence[str], flag: str) -> Sequence[str]:
    names = [text.partition("=")[0] for text in texts]
    if len(set(names)) != len(names):
        raise Unusable(f"{flag}: a name is given twice; names must differ")
    return texts


def read_options(texts: Sequence[str], suites: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for text in distinct(texts, "--scorer-options"):
        name, _, given = text.partition("=")
        if name not in suites or not given:
            raise Unusable(f"--scorer-options {text[:200]}: give SUITE=FILE.json or SUITE={{...}}; no such --suite")
        found[name] = read_object(given, f"--scorer-options of {name}")
    return found


def read_object(given: str, what: str) -> dict[str, Any]:
    """A JSON object: the text itself where it begins with a brace, else the file it names."""
    try:
        value = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"{what} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unusable(f"{what}: a JSON object is needed")
    return value


def _suite(
    text: str, told: Mapping[str, dict[str, Any]], schema_check: SchemaCheck | None, find: Callable[[str], Path]
) -> Suite:
    name, equals, rest = text.partition("=")
    path_text, colon, scorer = rest.rpartition(":")
    if not colon or "/" in scorer:
        path_text, scorer = rest, "exact"
    if not name or not equals or not path_text:
        raise Unusable(f"--suite {text}: give NAME=FILE_OR_FOLDER[:scorer]")
    try:
        chosen = choose(scorer, told.get(name, {}), schema_check)
    except Unusable as error:
        raise Unusable(f"--suite {text}: {error}") from error
    path = find(path_text)
    items = read_suite(path)
    if not items:
        raise Unusable(f"--suite {name}: {path} holds no items")
    left_out = {item.id: wrong for item in items if (wrong := chosen.check_item(item))}
    if len(left_out) > MOST_LEFT_OUT * len(items):
        first, wrong = next(iter(left_out.items()))
        many = f"; {len(left_out)} of {len(items)} items are like that" if len(left_out) > 1 else ""
        raise Unusable(f"--suite {name}: item {first} of {path}: {wrong}; the scorer {scorer} needs one{many}")
    for item_id, wrong in left_out.items():
        print(f"suite {name}: item {item_id} is left out for every version: {wrong}", file=sys.stderr)
    items = [item for item in items if item.id not in left_out]
    return Suite(name, chosen, items, artifacts.sha256_of(path / EXAMPLES if path.is_dir() else path), left_out)
