"""References inside a JSON Schema (draft 2020-12): each must lead somewhere within the schema. Nothing is fetched."""

from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

KEYWORDS = ("$ref", "$dynamicRef")


def broken_references(schema: Any) -> list[str]:
    """A sentence for each reference that leads nowhere, elsewhere, or only back to itself."""
    root = DRAFT202012.create_resource(schema)
    name = root.id() or ""
    waiting = [(root, Registry().with_resource(name, root).resolver(name))]
    seen: set[int] = set()
    broken = []
    while waiting:
        resource, resolver = waiting.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        waiting += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]
        for reference in _references(resource.contents):
            try:
                target = resolver.lookup(reference)
            except Unresolvable:
                broken.append(f"the reference {reference!r} leads to nothing in it (others are never fetched)")
                continue
            # Also what no keyword leads to, such as #/texts/short.
            waiting.append((DRAFT202012.create_resource(target.contents), target.resolver))
            if _is_circle(resource.contents, target):
                broken.append(f"the reference {reference!r} only leads back to itself")
    return broken


def _is_circle(start: Any, target: Any) -> bool:
    passed = {id(start)}
    while id(target.contents) not in passed:
        passed.add(id(target.contents))
        onward = _references(target.contents)
        if not onward:
            return False
        try:
            target = target.resolver.lookup(onward[0])
        except Unresolvable:
            return False
    return True


def _references(schema: Any) -> list[str]:
    if not isinstance(schema, dict):
        return []
    return [schema[k] for k in KEYWORDS if isinstance(schema.get(k), str)]
