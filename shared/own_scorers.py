"""Scorers that other packages bring along, by the entry-point group `ratchet.scorers`.

An entry point names a function `make(options)`. It returns a scorer, a callable of one argument, and raises ValueError
with a sentence when the options are wrong. Services call it once at start to refuse what would fail an evaluation
hours later; docs/scorers.md has an example. Standard library only.
Fails: Refused, naming the scorer, the package and the reason.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "ratchet.scorers"

Make = Callable[[Mapping[str, Any]], Callable[[Any], Any]]


class Refused(ValueError):
    """An own scorer that cannot be used, in a sentence."""


def names() -> list[str]:
    return sorted({point.name for point in entry_points(group=GROUP)})


def clashes(built_in: frozenset[str]) -> list[str]:
    """A sentence for each name that two packages bring, or that is taken; nobody could tell which one scored."""
    found: list[str] = []
    first: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in built_in:
            found.append(f"the scorer {_who(point)} has the name of a built-in one; rename it or remove the package")
        elif point.name in first and first[point.name].value != point.value:
            found.append(f"the scorers {_who(first[point.name])} and {_who(point)} share a name; remove one package")
        first.setdefault(point.name, point)
    return found


def maker(name: str) -> tuple[Make, str, str]:
    """The function, the package it came with, and that package's version."""
    point = next((point for point in entry_points(group=GROUP) if point.name == name), None)
    if point is None:
        raise Refused(f"no installed package brings a scorer {name!r} (entry-point group {GROUP})")
    try:
        make = point.load()
    except BaseException as error:  # whatever an import does; SystemExit must not end a service
        if isinstance(error, KeyboardInterrupt):
            raise
        raise Refused(f"the scorer {_who(point)} cannot be imported: {type(error).__name__}: {error}") from error
    if said := _not_of_one(make):
        raise Refused(f"the scorer {_who(point)} should be a function make(options): {said}")
    package = point.dist
    return make, package.name if package else "", package.version if package else ""


def made(name: str, options: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The scorer itself; Refused when its author's function refuses the options."""
    make, package, _ = maker(name)
    try:
        scorer = make(dict(options))
    except ValueError as error:
        raise Refused(f"the scorer {name!r} refuses its options: {error}") from error
    except Exception as error:
        raise Refused(f"the scorer {name!r} of {package} failed on its options: {error!r}") from error
    if said := _not_of_one(scorer):
        raise Refused(
            f"the scorer {name!r} of {package}: make(options) should return a function score(attempt): {said}"
        )
    return scorer


def _not_of_one(function: Any) -> str | None:
    """Why it cannot be called with one argument; None when it can."""
    if not callable(function):
        return f"it is a {type(function).__name__}, which cannot be called"
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        return f"it cannot be called with one argument ({error})"
    except ValueError:  # some built-ins have no signature
        return None
    return None


def _who(point: EntryPoint) -> str:
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.name!r} ({point.value}{package})"
