"""Per-item results of anybody's evaluation, a JSON object a line: what `ratchet gate` reads.

    {"item": "17", "score": 1, "group": "refunds", "slice": "german"}

`item` and `score` (0-1, or true and false) are needed, `score` not beside an `error`. `group`: items that mean the same
(else each stands alone). `suite`: "holdout" or "general". Other keys: those of `Result`; unknown ones are
left alone.
Fails: Unusable with file and line for what is no result. A score that is NaN, infinite or out of range is read: what
it means for the verdict is the gate's part.
"""

import json
from pathlib import Path

import msgspec

from services.promotion.measurement import Item, Side
from shared.errors import Unusable

SUITES = ("holdout", "general")
_MOST_SHOWN = 200
_SAME_HARNESS = "not told by files"  # that both files came from one harness is the caller's promise


class Result(msgspec.Struct, frozen=True, gc=False):
    item: str | int
    score: float | bool | msgspec.UnsetType | None = msgspec.UNSET
    group: str | int | None = None
    slice: str | int | None = None
    suite: str = "holdout"
    schema_valid: bool | None = None
    error: str | None = None
    cut_off: bool = False
    length: float | None = None  # of the answer: tokens or characters, the same for all
    expected_length: float | None = None
    seconds: float | None = None
    prompt: str | None = None


_DECODER = msgspec.json.Decoder(Result)


def read_side(file: Path) -> Side:
    results = read_results(file)
    holdout, general = (tuple(_item(r) for r in results if r.suite == suite) for suite in SUITES)
    return Side(file.name, _SAME_HARNESS, holdout, general)


def read_results(file: Path) -> list[Result]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}") from error
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        results = _DECODER.decode_lines(content)
    except (ValueError, RecursionError):
        results = _line_by_line(file, content)  # slower: it finds the line, and reads NaN as a broken scorer writes it
    if not results:
        raise Unusable(f'{file} holds no result; a line is such as {{"item": "17", "score": 1}}')
    _check(file, content, results)
    return results


def _line_by_line(file: Path, content: bytes) -> list[Result]:
    found = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.convert(json.loads(line.decode("utf-8")), Result))
        except UnicodeDecodeError as error:
            raise _unusable(file, number, f"is not UTF-8: {error.reason} at byte {error.start + 1}") from error
        except json.JSONDecodeError as error:
            raise _unusable(file, number, f"is not JSON: {error.msg} at character {error.pos + 1}") from error
        except RecursionError as error:
            raise _unusable(file, number, "is nested too deeply") from error
        except (ValueError, OverflowError) as error:
            raise _unusable(file, number, f"is no result: {error}") from error
    return found


def _check(file: Path, content: bytes, results: list[Result]) -> None:
    for place, result in enumerate(results):
        if result.score is msgspec.UNSET and result.error is None:
            raise _unusable(file, _number_of(content, place), "has neither a score nor an error")
        if result.suite not in SUITES:
            said = str(result.suite)[:_MOST_SHOWN]
            raise _unusable(
                file, _number_of(content, place), f"names the suite {said!r}; there are {' and '.join(SUITES)}"
            )


def _number_of(content: bytes, place: int) -> int:
    """The line of the result at this place: blank lines hold none."""
    held = (number for number, line in enumerate(content.split(b"\n"), start=1) if line.strip())
    return next(number for count, number in enumerate(held) if count == place)


def _unusable(file: Path, number: int, reason: str) -> Unusable:
    return Unusable(f"{file}, line {number} {reason[:_MOST_SHOWN]}")


def _item(result: Result) -> Item:
    name = str(result.item)
    score = None if result.score is msgspec.UNSET or result.score is None else float(result.score)
    return Item(
        name,
        name if result.group is None else str(result.group),
        score,
        score is not None and score >= 1,
        result.schema_valid,
        result.error,
        result.cut_off,
        None if result.slice is None else str(result.slice),
        result.length,
        result.expected_length,
        result.seconds,
        result.prompt,
    )
