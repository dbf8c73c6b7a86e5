"""Text that comes in over HTTP and is to be kept: whatever passes can be encoded, sent on and stored.

JSON can carry two things that our stores cannot: NUL, which PostgreSQL refuses, and half a surrogate pair, which has no
UTF-8. A body's field of type `Text` with either is refused at the door with a sentence, before anything is kept.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def objection(text: str) -> str | None:
    """Why this text cannot be stored, as a sentence that never repeats it; None when it can."""
    found = _NOT_STORABLE.search(text)
    if found is None:
        return None
    where = f"at character {found.start() + 1}"
    if found[0] == "\0":
        return f"contains a NUL character {where}, which cannot be stored; remove it"
    return f"contains half a surrogate pair {where} (\\u{ord(found[0]):04x}), which is no character; remove it"


def storable(text: str) -> str:
    """The text itself; ValueError when it cannot be stored."""
    if why := objection(text):
        raise ValueError(why)
    return text


Text = Annotated[str, AfterValidator(storable)]
