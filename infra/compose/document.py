"""docker-compose.yml as a whole, and as text."""

from typing import Any

import yaml

from infra.compose.parts import Part
from infra.compose.servers import configs, servers
from infra.compose.services import services

HEAD = """\
# Ratchet and the servers under it, for Docker. Made by `make compose` from infra/compose, which takes each server's
# configuration from the native stack (infra/native): change it there. Settings and secrets: infra/env.example.
# docs/production.md says how to start it, what each part keeps, and what waits when one stops.
"""


def document() -> Part:
    parts = {**services(), **servers()}
    return {"name": "ratchet", "services": parts, "volumes": _volumes(parts), "configs": configs()}


def as_yaml(made: Part) -> str:
    return HEAD + "\n" + yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _volumes(parts: Part) -> Part:
    """Every volume a service names, made by compose."""
    named = [v.split(":")[0] for part in parts.values() for v in part.get("volumes", []) if isinstance(v, str)]
    return {name: {} for name in dict.fromkeys(named) if name[0] not in "./$"}


class _Dumper(yaml.SafeDumper):
    """Each value in full where it stands, and text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
