"""One SQLite file as a durable log, used twice: the embedded bus of a whole machine, and the gateway's bounded spool.

Both keep WAL mode and `synchronous=FULL`: what was acknowledged survives kill -9 of any process, and a power cut as far
as the disk keeps its word on fsync. Several processes may have the bus open; a spool has one writer and one drain.
"""

from shared.sqlite_log.bus import SqliteBus
from shared.sqlite_log.spool import Spool, SpoolDrain

__all__ = ["Spool", "SpoolDrain", "SqliteBus"]
