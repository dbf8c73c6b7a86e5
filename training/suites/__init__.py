"""How answers are scored: a registry of scorers, one file each. docs/scorers.md says when to use which.

A scorer is made from its checked options and then maps an attempt to a score, without regard to other attempts. A new
one is a file here, a line in SCORERS and its options in `shared/scorer_options.py`; other packages bring theirs by the
entry-point group `ratchet.scorers`. Source, options and the packages' versions are part of the harness hash, so figures
of different scorers are never compared.
Fails: Unusable, naming the scorer, the option and what would be right.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from shared import own_scorers, patterns, scorer_options
from shared.errors import Unusable
from training.examples import Example
from training.suites import box, code, exact, json_fields, refusal, rules, style, text
from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer

CheckItem = Callable[[Example, Options], str | None]  # what makes an item unusable as an exam, None when nothing


@dataclass(frozen=True, slots=True)
class BuiltIn:
    make: Callable[[Options, SchemaCheck | None], Scorer]
    sources: tuple[str, ...]  # files
    packages: tuple[str, ...] = ()  # whose versions change the figures
    graded: bool = False  # the score itself is compared; else whether the whole answer is right
    check_item: CheckItem = lambda item, options: None


SCORERS: dict[str, BuiltIn] = {
    "exact": BuiltIn(exact.make, (exact.__file__,)),
    "json_fields": BuiltIn(
        json_fields.make, (json_fields.__file__,), check_item=lambda item, _: json_fields.check_expected(item.answer)
    ),
    "text": BuiltIn(text.make, (text.__file__, exact.__file__), text.PACKAGES, graded=True),
    "style": BuiltIn(style.make, (style.__file__, rules.__file__), ("google-re2",)),
    "code": BuiltIn(code.make, (code.__file__, box.__file__, *map(str, box.PROGRAMS)), check_item=code.check_item),
    "refusal": BuiltIn(
        refusal.make, (refusal.__file__, rules.__file__), ("google-re2",), check_item=refusal.check_item
    ),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scorer by name with its complete options, ready to score."""

    name: str
    options: dict[str, Any]
    graded: bool
    fingerprint: str  # of source, options and packages
    score: Scorer
    check_item: Callable[[Example], str | None]


def choose(name: str, given: Options, schema_check: SchemaCheck | None) -> Chosen:
    if clashes := own_scorers.clashes(frozenset(SCORERS)):
        raise Unusable("; ".join(clashes))
    if name not in SCORERS:
        return _own(name, given)
    if wrong := scorer_options.mistakes(name, given):
        raise Unusable(f"the options of the scorer {name}: " + "; ".join(wrong))
    built_in, options = SCORERS[name], scorer_options.complete(name, given)
    return Chosen(
        name,
        options,
        built_in.graded,
        _fingerprint([Path(source) for source in built_in.sources], options, built_in.packages),
        built_in.make(options, schema_check),
        lambda item: built_in.check_item(item, options),
    )


def known() -> list[str]:
    return [*SCORERS, *(name for name in own_scorers.names() if name not in SCORERS)]


def _own(name: str, given: Options) -> Chosen:
    if name not in own_scorers.names():
        raise Unusable(f"there is no scorer {name!r}; known: {', '.join(known())}")
    try:
        make, package, _ = own_scorers.maker(name)
        scorer = own_scorers.made(name, given)
    except own_scorers.Refused as error:
        raise Unusable(str(error)) from error

    def checked(attempt: Attempt) -> Score:
        found = scorer(attempt)
        if not isinstance(found, Score):
            raise TypeError(f"the scorer {name} returned a {type(found).__name__}, not a training.suites.score.Score")
        return found

    graded = bool(getattr(make, "graded", False))
    fingerprint = _fingerprint(_files_of(make), given, (package,) if package else ())
    return Chosen(name, dict(given), graded, fingerprint, checked, lambda item: None)


def _files_of(make: object) -> list[Path]:
    """The whole package that an own scorer stands in: a change anywhere in it may change the figures."""
    file = inspect.getsourcefile(make if inspect.isroutine(make) or inspect.isclass(make) else type(make))
    if file is None:
        return []
    module = str(getattr(make, "__module__", ""))
    folder = Path(file).resolve().parent
    for _ in range(module.count(".") - (Path(file).name != "__init__.py")):
        folder = folder.parent
    in_package = "." in module or Path(file).name == "__init__.py"
    return sorted(folder.rglob("*.py")) if in_package else [Path(file)]


def _fingerprint(files: list[Path], options: Mapping[str, Any], packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for file in [*files, Path(__file__), Path(patterns.__file__)]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    for package in packages:
        digest.update(f"{package}=={_version(package)}\n".encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
