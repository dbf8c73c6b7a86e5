"""Text that others wrote, made safe to print: what a terminal would obey is shown instead.

Prompts, answers, reasons and errors come from outside. An escape sequence among them could clear the screen or rewrite
a line, and a direction mark could make a text read as another; both are shown as `\\x1b`, `\\u202e`. Line breaks and
tabs stay.
"""

import json
import re
from typing import Any

# C0 and C1 controls, DEL, direction marks, overrides and isolates, line separators, half surrogate pairs.
_OBEYED = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[{_OBEYED}]")


def shown(text: object) -> str:
    """The text with each such character as its escape; None is empty."""
    return "" if text is None else _IN_TEXT.sub(_escape, str(text))


def as_json(value: Any) -> str:
    """JSON for programs that is also safe on a terminal; reading it gives the same value back."""
    return _IN_TEXT.sub(_escape_in_json, json.dumps(value, indent=1, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _escape_in_json(found: re.Match[str]) -> str:
    # Only inside a string: json.dumps puts nothing but line breaks between values.
    return f"\\u{ord(found[0]):04x}"
