"""A stream as it is relayed: events pass at once, their bytes unchanged; the last one is held back for the record."""

import time

from services.gateway.answers import BROKEN_OFF, Answer, is_done, rebuild_stream, split_before_done
from services.gateway.asgi import Reply
from services.gateway.record_room import RecordRoom
from services.gateway.refusals import too_large_to_record, upstream_broke
from services.gateway.upstream import Connection
from shared.bus import MAX_RECORD_BYTES


class StreamCopy:
    def __init__(self, began: float) -> None:
        self.sent: list[bytes] = []
        self.held = b""  # the [DONE] event, or a line that is not complete
        self.done = False  # the [DONE] event is here
        self.cut = False  # it outgrew its record
        self.first_token_seconds: float | None = None
        self._began = began

    async def relay(self, connection: Connection, reply: Reply, max_bytes: int, room: RecordRoom) -> None:
        """Returns when all but `held` was sent. Refused or ClientLeft when either side broke off, or it is cut."""
        size = 0
        while data := await connection.read():
            size += len(data)
            if size > max_bytes:
                raise upstream_broke(f"it is larger than {max_bytes} bytes")
            ready, self.held = split_before_done(self.held + data if self.held else data)
            if ready:
                if not room.takes(ready):
                    self.cut = True
                    raise too_large_to_record(MAX_RECORD_BYTES)
                if self.first_token_seconds is None:
                    self.first_token_seconds = time.monotonic() - self._began
                self.sent.append(ready)
                await reply.piece(ready)
            if self.held and is_done(self.held):
                self.done = True
                return

    def rebuilt(self, *, aborted: bool) -> Answer:
        """The answer as far as it was sent; one that nobody finished or left, or that was cut, is BROKEN_OFF."""
        answer = rebuild_stream(b"".join(self.sent))
        if self.cut or (answer.finish_reason is None and not aborted):
            answer.finish_reason = BROKEN_OFF
        return answer
