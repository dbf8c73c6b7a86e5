"""Dead letters: what could not be used, kept with the reason so that a person can look, mend and send it again."""

import msgspec

from shared import topics
from shared.bus import Outgoing

VALUE_CHARACTERS = 500_000  # six bytes each at worst once escaped: a letter always fits the bus


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stood, why it was refused, and its bytes as text (invalid UTF-8 replaced)."""

    consumer: str
    topic: str
    partition: int  # -1 when it never reached the bus
    offset: int
    reason: str
    value: str
    cut_bytes: int = 0  # how many bytes of a huge value are not in `value`


def dead_letter(
    consumer: str, topic: str, key: str, value: bytes, reason: str, partition: int = -1, offset: int = -1
) -> Outgoing:
    text = value.decode("utf-8", "replace")
    kept = text[:VALUE_CHARACTERS]
    letter = DeadLetter(
        consumer=consumer,
        topic=topic,
        partition=partition,
        offset=offset,
        reason=reason[:10_000],
        value=kept,
        cut_bytes=len(text[VALUE_CHARACTERS:].encode()),
    )
    return Outgoing(topics.DEAD, key[:1000], msgspec.json.encode(letter))
