"""How lists, versions and errors look to a person at a terminal."""

import os
import re
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.errors import RatchetError, Unusable
from shared.plain import shown

UNFOLDED_COLUMNS = 100_000  # wider than any row


def console() -> Console:
    """Standard output; in a pipe or a file every row is one line, unless COLUMNS says how long one may be."""
    made = Console()
    return made if made.is_terminal or os.environ.get("COLUMNS") else Console(width=UNFOLDED_COLUMNS)


def table_of(*names: str) -> Table:
    """Nothing in it is cut off; its first column, an id to copy, is the last to be narrowed."""
    first, *others = names
    columns = Column(first, no_wrap=True), *[Column(n, overflow="fold") for n in others]
    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def headline(model: dict[str, Any]) -> Text:
    """`support-triage@3f2a9c01d4e5b6a7  REJECTED, preset default, made 2026-11-20 18:09 UTC`"""
    parts = [model["stage"]]
    if model.get("verdict") and model["verdict"] != model["stage"]:
        parts.append(f"verdict {model['verdict']}")
    if model.get("preset"):
        parts.append(f"preset {model['preset']}")
    parts.append(f"made {model['created_at'][:16].replace('T', ' ')} UTC")
    return Text.assemble((shown(model["version"]), "bold"), "  ", shown(", ".join(parts)))


def for_people(error: RatchetError) -> str:
    """Without the calls a refusal came through: its last sentence says it all. What is away keeps its address."""
    if isinstance(error, Unusable):
        return re.sub(r"^((GET|POST) \S+ answered \d+: )+", "", str(error))
    is_down = "ConnectError" in str(error)
    return f"{error}; `ratchet status` shows what is down, `ratchet up` starts it" if is_down else str(error)
