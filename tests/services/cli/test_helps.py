"""The helps say all that stands in the code: rich takes [brackets] for its own marks, and drops them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services.cli.__main__ import app


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


KNOWN = dict(commands(typer.main.get_command(app)))


def letters(text: str) -> str:
    """Without what laying out and escaping change."""
    return re.sub(r"[^\w\[\].:{}]", "", text)


@pytest.mark.parametrize("path", KNOWN, ids=" ".join)
def test_brackets_in_a_help_are_shown(path: tuple[str, ...]) -> None:
    said = letters(CliRunner().invoke(app, [*path, "--help"], terminal_width=200).output)
    command = KNOWN[path]
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    for bracketed in (found for text in texts for found in re.findall(r"\[[^\]]*\]", text)):
        assert letters(bracketed) in said, f"ratchet {' '.join(path)} --help eats {bracketed}; write \\\\[ for ["


def test_there_are_helps_with_brackets_to_look_at() -> None:
    assert "[workloads.NAME.gate]" in " ".join(parameter.help for parameter in KNOWN[("gate",)].params)
