"""Whether an answer still fits into its record, while it is relayed: what was sent must be what is recorded.

The bus takes records of MAX_RECORD_BYTES at most. A stream is measured as it passes, so that it can be cut before it
outgrows its record. What arrives says little about that (a token's event is 200 bytes, its text 4), so the text is
measured, but only when the bytes that were not looked at yet could matter: every byte is parsed once more at most.
"""

import msgspec

from services.gateway.answers import rebuild_stream
from shared.bus import MAX_RECORD_BYTES, Outgoing, size_of

# Written anew, no JSON grows more than this: 1e15 becomes 1000000000000000.0; texts only shrink.
GROWTH = 5
NUMBERS_BYTES = 1024  # for what is not text: counts, seconds, a log probability

_encoder = msgspec.json.Encoder()


class RecordRoom:
    """The room that a record without an answer leaves to the answer."""

    def __init__(self, empty_record: Outgoing) -> None:
        self._left = MAX_RECORD_BYTES - size_of(empty_record) - NUMBERS_BYTES
        self._unmeasured: list[bytes] = []
        self._unmeasured_bytes = 0

    @property
    def is_used_up(self) -> bool:
        return self._left < 0

    def takes(self, piece: bytes) -> bool:
        """Whether this piece of the stream, whole lines, fits in beside those before. After the first no, always no."""
        self._unmeasured.append(piece)
        self._unmeasured_bytes += len(piece)
        if self._unmeasured_bytes * GROWTH > self._left:
            self._left -= _recorded_bytes(b"".join(self._unmeasured))
            self._unmeasured.clear()
            self._unmeasured_bytes = 0
        return not self.is_used_up


def _recorded_bytes(stream: bytes) -> int:
    """What these lines of a stream add to the record at most."""
    answer = rebuild_stream(stream)
    return len(_encoder.encode((answer.text, answer.tool_calls or (), answer.finish_reason or "")))
