"""Rules about a text that people write down: what it must hold, must not hold, how long it may be, its tone. Pure.

A rule is words, found whole and without regard to case, or `{"regex": ...}` in RE2's syntax, which cannot run for ever
on any text (`shared/patterns.py`).
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from shared.errors import Unusable
from shared.patterns import matcher
from training.suites.score import Options

Rule = str | Mapping[str, str]
Count = Callable[[str], int]

_SPACE = re.compile(r"\s+")


def counter(rule: Rule) -> Count:
    """How often the rule's words or pattern come up."""
    if not isinstance(rule, str):
        try:
            return matcher(rule["regex"])
        except ValueError as error:
            raise Unusable(f"the rule {dict(rule)}: {error}") from error
    # Letters, digits and spaces only become a pattern: fixed words take linear time in any engine.
    words = r"\s+".join(re.escape(word) for word in _folded(rule).split())
    whole = re.compile(rf"(?<!\w){words}(?!\w)")
    return lambda text: sum(1 for _ in whole.finditer(_folded(text)))


def checks(options: Options) -> dict[str, Callable[[str], bool]]:
    """Name -> whether a text keeps the rule, for every rule that was declared."""
    found: dict[str, Callable[[str], bool]] = {}
    for rule in options["must_contain"]:
        found[f"must contain {_name(rule)}"] = _at_least_one(counter(rule))
    for rule in options["must_not_contain"]:
        found[f"must not contain {_name(rule)}"] = _none(counter(rule))
    if (most := options["max_characters"]) is not None:
        found[f"at most {most} characters"] = lambda text: len(text.strip()) <= most
    if (most_words := options["max_words"]) is not None:
        found[f"at most {most_words} words"] = lambda text: len(text.split()) <= most_words
    if options["tone_words"]:
        found["tone"] = _tone(options["tone_words"], options["tone_least"], options["tone_most"])
    return found


def any_of(rules: Sequence[Rule]) -> Callable[[str], bool]:
    counts = [counter(rule) for rule in rules]
    return lambda text: any(count(text) for count in counts)


def _tone(rules: Sequence[Rule], least: int, most: int | None) -> Callable[[str], bool]:
    counts = [counter(rule) for rule in rules]

    def kept(text: str) -> bool:
        found = sum(count(text) for count in counts)
        return found >= least and (most is None or found <= most)

    return kept


def _at_least_one(count: Count) -> Callable[[str], bool]:
    return lambda text: count(text) > 0


def _none(count: Count) -> Callable[[str], bool]:
    return lambda text: count(text) == 0


def _name(rule: Rule) -> str:
    return repr(rule) if isinstance(rule, str) else f"/{rule['regex']}/"


def _folded(text: str) -> str:
    """Typographic apostrophes are the plain one: models write both."""
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text).casefold().replace("\u2019", "'"))
