"""Reads `ratchet.dead` from its beginning, without disturbing any consumer."""

from typing import Any

import msgspec

from shared import topics
from shared.bus import open_bus
from shared.ids import uuid7


def read_dead_letters(bus_url: str) -> list[dict[str, Any]]:
    """Every dead letter still kept, oldest first. A group of its own that never commits."""
    bus = open_bus(bus_url)
    try:
        consumer = bus.consumer(f"cli-{uuid7()}", [topics.DEAD])
        try:
            letters: list[dict[str, Any]] = []
            while records := consumer.poll(500, 1.0):
                letters += [msgspec.json.decode(r.value, type=dict[str, Any]) for r in records]
            return letters
        finally:
            consumer.close()
    finally:
        bus.close()
