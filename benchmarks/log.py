"""What the embedded log costs: CPU per 1.9 kB record in the spool and on the bus. `python -m benchmarks.log`

CPU is this process's user and system time, so other work on the machine disturbs it little; the wall times are of a
machine that may be busy. A virtual disk's fsync proves nothing about a power cut. Writes benchmarks/results/log.json.
"""

import asyncio
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from shared.bus import Outgoing
from shared.sqlite_log import Spool, SpoolDrain, SqliteBus
from shared.topics import ANSWERS

RESULTS = Path(__file__).with_name("results") / "log.json"
VALUE = os.urandom(950).hex().encode()  # 1.9 kB of text that compresses as little as real text may
ROUNDS = 5
RECORDS = 6400


def main() -> None:
    rows = [
        *[measured(f"plain sqlite3, one thread, commits of {size}", partial(plain, size)) for size in (1, 8, 32)],
        *[measured(f"spool: append, {size} callers", partial(append, size)) for size in (1, 8, 32, 64)],
        measured("spool: read back and delete, batches of 500", drain),
        *[measured(f"bus: publish, batches of {size}", partial(publish, size)) for size in (1, 32, 500)],
        measured("bus: poll and commit, batches of 200", consume),
    ]
    report = {
        "machine": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": os.cpu_count(),
            "load_1_min": round(os.getloadavg()[0], 1),
        },
        "record_bytes": len(VALUE),
        "rounds": ROUNDS,
        "rows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    show(rows)


def measured(name: str, run: Callable[[Path], tuple[int, float, float]]) -> dict[str, Any]:
    """Several rounds, each in a folder of its own; the median round."""
    cpu, wall = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            records, cpu_seconds, wall_seconds = run(Path(folder))
        cpu.append(cpu_seconds / records * 1e6)
        wall.append(wall_seconds / records * 1e6)
    return {
        "what": name,
        "cpu_us_per_record": round(statistics.median(cpu), 1),
        "cpu_us_least": round(min(cpu), 1),
        "wall_us_per_record": round(statistics.median(wall), 1),
    }


def plain(group: int, folder: Path) -> tuple[int, float, float]:
    """The floor on this disk: one statement a commit, WAL, synchronous=FULL, nothing around it."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, topic TEXT, key TEXT, value BLOB)")
    statement = "INSERT INTO records VALUES " + ",".join(["(?, ?, ?, ?)"] * group)
    records = RECORDS if group > 1 else RECORDS // 8

    def all_of_them() -> None:
        for start in range(0, records, group):
            values = [part for number in range(group) for part in (start + number, ANSWERS, "key", VALUE)]
            connection.execute(statement, values)

    cpu, wall = timed(all_of_them)
    connection.close()
    return records, cpu, wall


def append(group: int, folder: Path) -> tuple[int, float, float]:
    """`group` callers on one event loop, each appending again when its record is durable."""
    spool = Spool.open(folder / "spool.db", 2**30)
    records = RECORDS if group > 1 else RECORDS // 8

    async def caller(number: int) -> None:
        for _ in range(records // group):
            await spool.append(Outgoing(ANSWERS, str(number), VALUE))

    async def callers() -> None:
        await asyncio.gather(*[caller(number) for number in range(group)])

    cpu, wall = timed(lambda: uvloop.run(callers()))
    spool.close()
    return records, cpu, wall


def drain(folder: Path) -> tuple[int, float, float]:
    append(64, folder)
    end = SpoolDrain.open(folder / "spool.db")

    def empty() -> None:
        while batch := end.read_batch(500):
            end.delete_through(batch[-1][0])

    cpu, wall = timed(empty)
    end.close()
    return RECORDS, cpu, wall


def publish(batch: int, folder: Path) -> tuple[int, float, float]:
    bus = SqliteBus(folder / "bus.db")
    records = RECORDS if batch > 1 else RECORDS // 8

    def all_of_them() -> None:
        for start in range(0, records, batch):
            bus.publish([Outgoing(ANSWERS, str(start + number), VALUE) for number in range(batch)])

    cpu, wall = timed(all_of_them)
    bus.close()
    return records, cpu, wall


def consume(folder: Path) -> tuple[int, float, float]:
    publish(32, folder)
    consumer = SqliteBus(folder / "bus.db").consumer("benchmark", [ANSWERS])

    def all_of_them() -> None:
        while records := consumer.poll(200, 0.0):
            consumer.commit({(record.topic, record.partition): record.offset + 1 for record in records})

    cpu, wall = timed(all_of_them)
    consumer.close()
    return RECORDS, cpu, wall


def timed(run: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("what", "CPU us/record", "least of 5", "wall us/record", title=f"{len(VALUE)} bytes a record")
    for row in rows:
        table.add_row(row["what"], *(f"{row[key]:.1f}" for key in list(row)[1:]))
    Console().print(table)


if __name__ == "__main__":
    main()
