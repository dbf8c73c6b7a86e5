"""What a child leaves to read while it runs: its progress and its last words. Half-written lines are waited for."""

import json
import os
import time
from pathlib import Path
from typing import Any

_TAIL_BYTES = 64 * 1024
_SENTENCE_CHARACTERS = 500


def last_line_of_json(file: Path) -> dict[str, Any] | None:
    """The last complete line that is a JSON object, NaN and infinities as None; None when there is none."""
    complete, _, _ = _tail(file).rpartition("\n")
    for line in reversed(complete.splitlines()):
        try:
            value = json.loads(line, parse_constant=lambda _name: None)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None


class Silence:
    """How long a file has not grown, by this process's own clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen, self._since = self._size(), time.monotonic()

    def seconds(self) -> float:
        if (size := self._size()) != self._seen:
            self._seen, self._since = size, time.monotonic()
        return time.monotonic() - self._since

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0


def last_sentence(file: Path) -> str:
    """The last line with words in it, shortened."""
    lines = [line.strip() for line in _tail(file).splitlines() if line.strip() and not line.startswith("--- attempt")]
    return lines[-1][:_SENTENCE_CHARACTERS] if lines else ""


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            # A NUL is no text to PostgreSQL.
            return stream.read().decode("utf-8", "replace").replace("\0", "\ufffd")
    except OSError:
        return ""
