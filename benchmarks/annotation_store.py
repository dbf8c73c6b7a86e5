"""How fast annotation stores answers: CPU per sample through the real consumer loop into a SQLite file.

`python benchmarks/annotation_store.py [samples]`. Four kinds of traffic: one template that differs in numbers, prompts
that have nothing in common, prompts of which three quarters are a template, and of which nearly all are. The figure of
the second half is what shows whether the near-duplicate index stays cheap as it grows. CPU time on a machine where
others work is higher than on an idle one.
"""

import itertools
import random
import resource
import sys
import tempfile
import threading
from collections.abc import Callable

from sqlalchemy import Engine, func
from sqlmodel import select

from services.annotation.consumer import LISTENS_TO, handlers_of
from services.annotation.handlers import Workloads
from services.annotation.tables import SampleRow
from shared.bus import Bus, Outgoing, open_bus
from shared.consumer import ConsumerLoop
from shared.db import open_database, reading
from shared.events import AnswerServed, encode, utc_now
from shared.ids import uuid7
from shared.schema import migrate
from shared.topics import ANSWERS
from shared.workloads import Workload

WORDS = [
    "".join(letters) for letters in itertools.islice(itertools.product("bcdfgklmnprst", "aeiou", "xyz", "qwv"), 500)
]


def prompts(rng: random.Random) -> dict[str, Callable[[int], str]]:
    template = " ".join(rng.choices(WORDS, k=60))
    return {
        "numbers differ": lambda n: f"Ticket {n}: the router on floor {n % 7} is down",
        "nothing in common": lambda n: " ".join(rng.choices(WORDS, k=100)),
        "three quarters template": lambda n: f"{template} {' '.join(rng.choices(WORDS, k=20))}",
        "nearly all template": lambda n: f"{template} {' '.join(rng.choices(WORDS, k=9))}",
    }


def answered(prompt: str) -> Outgoing:
    messages = [{"role": "system", "content": "x" * 200}, {"role": "user", "content": prompt}]
    event = AnswerServed(
        answer_id=uuid7(), workload="w", version="v", messages=messages, answer='{"a": 1}' * 30, mean_logprob=-0.2
    )
    return Outgoing(ANSWERS, event.answer_id, encode(event, "gateway"))


def measure(prompt: Callable[[int], str], samples: int) -> list[float]:
    """CPU microseconds per sample, of the first and the second half; reading the bus is in it, publishing is not."""
    workloads = {"w": Workload(base="b", answer_schema={"type": "object"})}
    with tempfile.TemporaryDirectory() as folder:
        engine, bus = open_database(f"sqlite:///{folder}/store.db"), open_bus(f"sqlite:///{folder}/bus.db")
        migrate(engine)
        bus.ensure_topics()
        halves = []
        for half in range(2):
            first = half * samples // 2
            bus.publish([answered(prompt(n)) for n in range(first, first + samples // 2)])
            start = cpu_seconds()
            store(engine, bus, workloads, first + samples // 2)
            halves.append((cpu_seconds() - start) / (samples // 2) * 1e6)
        bus.close()
        engine.dispose()
    return halves


def store(engine: Engine, bus: Bus, workloads: Workloads, until: int) -> None:
    """Runs the service's own consumer until so many samples are stored."""
    done = threading.Event()

    def batch_kept() -> None:
        with reading(engine) as session:
            if session.exec(select(func.count()).select_from(SampleRow)).one() >= until:
                done.set()

    loop = ConsumerLoop(
        service="annotation",
        engine=engine,
        bus=bus,
        handlers=handlers_of(workloads, utc_now),
        listens_to=LISTENS_TO,
        on_crash=lambda _error: done.set(),
        after_commit=batch_kept,
    )
    loop.start()
    done.wait()
    loop.stop()
    if loop.failed:
        raise loop.failed


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    for name, prompt in prompts(random.Random(1)).items():
        first, second = measure(prompt, samples)
        print(f"{name:24} {first:6.0f} then {second:6.0f} us CPU/sample = {1e6 / second:5.0f} samples/s on one core")


if __name__ == "__main__":
    main()
