"""Reads `ratchet.dead` from its beginning, without disturbing any consumer."""

from typing import Any

import msgspec

from shared import topics
from shared.bus import open_bus


def read_dead_letters(bus_url: str) -> list[dict[str, Any]]:
    """Every dead letter still kept, oldest first."""
    bus = open_bus(bus_url)
    try:
        return [msgspec.json.decode(record.value, type=dict[str, Any]) for record in bus.history(topics.DEAD)]
    finally:
        bus.close()
