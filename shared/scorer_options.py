"""What each scorer may be told in `ratchet.toml`: keys, defaults, and what is wrong with a value, in words.

Read by the services at start (`shared/workloads.py`) and by the evaluation itself, so both refuse the same. Standard
library only: training runs on bare machines. Options of own scorers are checked by their authors (`own_scorers`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.patterns import matcher
from shared.references import choice

Options = Mapping[str, Any]
Check = Callable[[Any], str | None]  # "should be ...", or None when the value is right

MEASURES = ("chrf", "rouge_l", "edit", "length")
TOLERANCES = ("absolute", "relative", "days", "seconds")
REQUIRED: Any = object()
MOST_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Option:
    default: Any
    check: Check


def complete(scorer: str, given: Options) -> dict[str, Any]:
    """Every option of a built-in scorer, with its value or default. `mistakes` was asked before."""
    return {key: given.get(key, option.default) for key, option in OPTIONS[scorer].items()}


def mistakes(scorer: str, given: Options) -> list[str]:
    """Sentences, each beginning with the key: `.measure is 'x': should be ...`; none when all is right."""
    known = OPTIONS[scorer]
    found = []
    for key, value in given.items():
        if key not in known:
            names = choice(key, list(known)) if known else f"the scorer {scorer} has no options"
            found.append(f".{key} is not an option of the scorer {scorer} (it is set to {_shown(value)}); {names}")
        elif said := known[key].check(value):
            found.append(f".{key} is {_shown(value)}: {said}")
    for key, option in known.items():
        if option.default is REQUIRED and key not in given:
            found.append(f".{key} is missing; the scorer {scorer} needs it")
    if not found and (whole := _WHOLE.get(scorer)) and (said := whole(complete(scorer, given))):
        found.append(said)
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN_CHARACTERS else text[:MOST_SHOWN_CHARACTERS] + "..."


def _number(low: float, high: float = math.inf, *, whole: bool = False) -> Check:
    kind = "a whole number" if whole else "a number"
    right = f"should be {kind} from {low:g}" + (f" to {high:g}" if math.isfinite(high) else " up")

    def check(value: Any) -> str | None:
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        return None if fits and math.isfinite(value) and low <= value <= high else right

    return check


def _one_of(*known: str) -> Check:
    return lambda value: None if value in known else f"should be one of {', '.join(known)}"


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else "should be true or false"


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "should be a text that is not empty"


def _tolerance(value: Any) -> str | None:
    right = "should be a table of field = {absolute = 0.01}, {relative = 0.05}, {days = 1} or {seconds = 60}"
    if not isinstance(value, dict):
        return right
    for field, allowed in value.items():
        if not isinstance(allowed, dict) or len(allowed) != 1 or not set(allowed) <= set(TOLERANCES):
            return f"{right}; {field} has {_shown(allowed)}"
        if said := _number(0)(next(iter(allowed.values()))):
            return f"{field}.{next(iter(allowed))} {said}"
    return None


def _rules(value: Any) -> str | None:
    """A list of words, or of {regex = "..."}."""
    if not isinstance(value, list):
        return 'should be a list of words and {regex = "..."}, such as ["sorry", {regex = "order #\\\\d+"}]'
    for rule in value:
        if said := _rule(rule):
            return f"{_shown(rule)} {said}"
    return None


def _rule(rule: Any) -> str | None:
    if isinstance(rule, str):
        return _text(rule)
    if not isinstance(rule, dict) or set(rule) != {"regex"} or not isinstance(rule["regex"], str):
        return 'should be words in quotes, or {regex = "..."}'
    try:
        matcher(rule["regex"])
    except ValueError as error:
        return str(error)
    return None


def _some_rules(value: Any) -> str | None:
    return _rules(value) or (None if value else "should name at least one")


def _style_needs_rules(options: Options) -> str | None:
    lists = ("must_contain", "must_not_contain", "tone_words")
    limits = ("max_characters", "max_words")
    if any(options[key] for key in lists) or any(options[key] is not None for key in limits):
        return None
    return f"at least one rule is needed; give one of {', '.join((*lists, *limits))}"


def _tone_makes_sense(options: Options) -> str | None:
    least, most = options["tone_least"], options["tone_most"]
    if most is not None and least > most:
        return f".tone_least is {least}: should be at most tone_most, which is {most}"
    if (least or most is not None) and not options["tone_words"]:
        return ".tone_words is missing; tone_least and tone_most count them"
    if options["tone_words"] and not least and most is None:
        return ".tone_words needs tone_least or tone_most; without one they decide nothing"
    return None


_TEXT_RULES = {
    "must_contain": Option([], _rules),
    "must_not_contain": Option([], _rules),
    "max_characters": Option(None, _optional(_number(1, whole=True))),
    "max_words": Option(None, _optional(_number(1, whole=True))),
    "tone_words": Option([], _rules),
    "tone_least": Option(0, _number(0, whole=True)),
    "tone_most": Option(None, _optional(_number(0, whole=True))),
}
OPTIONS: dict[str, dict[str, Option]] = {
    "exact": {},
    "json_fields": {"tolerance": Option({}, _tolerance)},
    "text": {"measure": Option("chrf", _one_of(*MEASURES)), "right_from": Option(1.0, _number(0, 1))},
    "style": _TEXT_RULES,
    "refusal": {"phrases": Option(REQUIRED, _some_rules), **_TEXT_RULES},
    "code": {
        "timeout_seconds": Option(10, _number(0.1, 600)),
        "cpu_seconds": Option(5, _number(1, 600, whole=True)),
        "memory_mib": Option(512, _number(64, 65536, whole=True)),
        "file_mib": Option(16, _number(1, 4096, whole=True)),
        "processes": Option(16, _number(1, 1024, whole=True)),
        "allow_unisolated": Option(False, _truth),
    },
}
_WHOLE: dict[str, Callable[[Options], str | None]] = {
    "style": lambda options: _style_needs_rules(options) or _tone_makes_sense(options),
    "refusal": _tone_makes_sense,
}
