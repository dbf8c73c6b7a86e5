"""Word diff of two texts, and text made safe to look at. Pure.

Joining the kept and removed parts gives the first text, the kept and added parts the second, always.
"""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

Part = tuple[Literal["same", "removed", "added"], str]

_WORDS = re.compile(r"\w+|\r?\n|[^\S\n]+|[^\w\s]", re.UNICODE)
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
    "\U000e0000-\U000e007f\ud800-\udfff]"  # half a surrogate pair could not even be written to a file
)
_SPACES = str.maketrans({"\n": "↵\n", "\t": "⇥", " ": "␣", "\u00a0": "⍽"})


def word_diff(before: str, after: str) -> list[Part]:
    """Neighbours of one kind are joined."""
    a, b = _WORDS.findall(before), _WORDS.findall(after)
    parts: list[Part] = []
    for operation, a1, a2, b1, b2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if operation == "equal":
            parts.append(("same", "".join(a[a1:a2])))
            continue
        if a2 > a1:
            parts.append(("removed", "".join(a[a1:a2])))
        if b2 > b1:
            parts.append(("added", "".join(b[b1:b2])))
    return parts


def visible_space(text: str) -> str:
    """A changed piece that is nothing but space would be invisible; this one is not."""
    return text if text.strip() else text.translate(_SPACES)


def hidden_split(text: str) -> Iterator[tuple[bool, str]]:
    """(False, text as it is) and (True, `U+202E`) by turns: characters that change how text reads, unseen."""
    start = 0
    for match in _HIDDEN.finditer(text):
        if match.start() > start:
            yield False, text[start : match.start()]
        yield True, f"U+{ord(match[0]):04X}"
        start = match.end()
    if start < len(text):
        yield False, text[start:]
