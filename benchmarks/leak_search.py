"""`python -m benchmarks.leak_search`: the search for leaked texts on tickets of the demo: false finds, copies, CPU.

Every ticket is drawn anew, so nothing that is found on the first two lines is a leak; on the last, 20 items were
copied into the training with a greeting before them.
"""

import time
from collections.abc import Iterable

from services.promotion.contamination import Text, find_overlaps, text_of
from training.tiny.house import ticket

WORLDS = 30


def main() -> None:
    small = [_search(_texts(range(n, n + 200)), _texts(range(n + 500, n + 590))) for n in range(0, WORLDS * 1000, 1000)]
    _say(f"{WORLDS} worlds, 90 items against 200 examples each", sum(f for f, _ in small), sum(s for _, s in small))
    training, held = _texts(range(10_000)), _texts(range(100_000, 102_000))
    _say("2,000 items against 10,000 examples", *_search(training, held))
    copied = _texts(range(100_000, 100_020), "Hello dear colleagues! ")
    _say("the same with 20 items copied", *_search([*training, *copied], held))


def _texts(seeds: Iterable[int], greeting: str = "") -> list[Text]:
    drawn = ((seed, ticket(seed)) for seed in seeds)
    return [
        text_of(f"{greeting}{seed}", f"{greeting}{seed}", [{"role": "user", "content": greeting + t.text}], t.answer)
        for seed, t in drawn
    ]


def _search(training: list[Text], held: list[Text]) -> tuple[int, float]:
    start = time.process_time()
    return len(find_overlaps(training, held)), time.process_time() - start


def _say(what: str, found: int, seconds: float) -> None:
    print(f"{what}: {found} found, {seconds:.2f} s of CPU")


if __name__ == "__main__":
    main()
