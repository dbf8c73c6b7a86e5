"""Dead letters: what could not be used, kept with the reason so that a person can look, mend and send it again."""

import logging
from collections.abc import Sequence

import msgspec

from shared import topics
from shared.bus import Bus, Outgoing
from shared.errors import Unavailable, Unusable

log = logging.getLogger(__name__)

VALUE_CHARACTERS = 500_000  # six bytes each at worst once escaped: a letter always fits the bus
SHORT_CHARACTERS = 1000  # where a broker's own limit for ratchet.dead is lower than ours


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
    consumer: str,
    topic: str,
    key: str,
    value: bytes,
    reason: str,
    partition: int = -1,
    offset: int = -1,
    most_characters: int = VALUE_CHARACTERS,
) -> Outgoing:
    text = value.decode("utf-8", "replace")
    kept = text[:most_characters]
    letter = DeadLetter(
        consumer=consumer,
        topic=topic,
        partition=partition,
        offset=offset,
        reason=reason[:10_000],
        value=kept,
        cut_bytes=len(text[most_characters:].encode()),
    )
    return Outgoing(topics.DEAD, key[:1000], msgspec.json.encode(letter))


def publish_or_bury(bus: Bus, consumer: str, records: Sequence[Outgoing]) -> None:
    """Publishes all of them; one that the bus can never take goes as a dead letter instead. Raises Unavailable."""
    try:
        bus.publish(records)
    except Unusable:
        for record in records:
            try:
                bus.publish([record])
            except Unusable as error:
                log.warning("a record for %s goes to the dead letters: %s", record.topic, error)
                _bury(bus, consumer, record, str(error))


def _bury(bus: Bus, consumer: str, record: Outgoing, reason: str) -> None:
    """Whole if the bus takes it, else cut short; when it takes neither the record waits where it is."""
    for most in (VALUE_CHARACTERS, SHORT_CHARACTERS):
        letter = dead_letter(consumer, record.topic, record.key, record.value, reason, most_characters=most)
        try:
            bus.publish([letter])
            return
        except Unusable as error:
            refusal = error
    raise Unavailable(f"{topics.DEAD} takes not even a short letter, so nothing goes on: {refusal}") from refusal
