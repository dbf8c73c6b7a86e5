"""Showing how far a program is: JSON lines for machines to follow, a bar for people at a terminal.

A line is flushed as it is written; a reader may find the last one half-written and should wait for its line end.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class MetricLines:
    """JSON lines appended to a file."""

    def __init__(self, file: Path, *, keep_lines: int = 0) -> None:
        """keep_lines: how many of the lines already there are still true; the others go."""
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = file.read_text().splitlines(keepends=True)[:keep_lines] if keep_lines and file.is_file() else []
        self._stream = file.open("w")
        self._stream.writelines(kept)
        self._stream.flush()
        self.count = len(kept)

    def write(self, **figures: Any) -> None:
        self._stream.write(json.dumps(figures) + "\n")
        self._stream.flush()
        self.count += 1

    def __enter__(self) -> "MetricLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def bar() -> Progress:
    """Drawn on stderr, and only at a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal)
