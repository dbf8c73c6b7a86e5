"""The engine: one thread that lets waiting answers into the batch, advances it token by token, and announces what came.

Promises: first come, first served; a sequence is admitted only when its prompt and its longest answer fit the cache, so
       nothing that runs is ever pushed out; more than max_queue waiting are refused; a cancelled one frees its place at
       the next step.
Fails: logits that are not numbers fail their own row. Anything else is a bug: every sequence is told, then on_death is
       called.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from torch import Tensor

from services.model_server.batch import Batch
from services.model_server.metrics import (
    BATCH_ROWS,
    FIRST_TOKEN_SECONDS,
    KV_CACHE_BYTES,
    QUEUE_ROWS,
    STEP_SECONDS,
    TOKENS,
)
from services.model_server.sampling import pick
from services.model_server.sequence import Failed, Sequence, Step

log = logging.getLogger(__name__)

News = list[tuple[Sequence, Step | Failed]]


class Refused(Exception):
    """The engine takes no more now; why, in words for the caller."""


class Engine:
    """announce: called in the engine's thread with all news of a step at once."""

    def __init__(
        self,
        batch: Batch,
        *,
        end_tokens: frozenset[int],
        max_batch: int,
        max_queue: int,
        prefill_tokens: int,
        cache_tokens: int,
    ) -> None:
        self._batch = batch
        self._end_tokens = end_tokens
        self._max_batch = max_batch
        self.max_queue = max_queue
        self._prefill_tokens = prefill_tokens
        self._cache_tokens = cache_tokens
        self._waiting: deque[Sequence] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._announce: Callable[[News], None] = lambda news: None
        self._on_death: Callable[[BaseException], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.dead: BaseException | None = None

    def start(self, announce: Callable[[News], None], on_death: Callable[[BaseException], None]) -> None:
        self._announce, self._on_death = announce, on_death
        self._thread.start()

    def submit(self, sequences: list[Sequence]) -> None:
        """All of them, or Refused."""
        with self._changed:
            if self._closing:
                raise Refused("the model server is stopping; ask again")
            if len(self._waiting) + len(sequences) > self.max_queue:
                raise Refused(f"{len(self._waiting)} answers wait already, as many as may; ask again in a moment")
            self._waiting.extend(sequences)
            QUEUE_ROWS.set(len(self._waiting))
            self._changed.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Nobody waits for it any more. Harmless when it has ended."""
        with self._changed:
            sequence.cancelled = True
            if sequence in self._waiting:
                self._waiting.remove(sequence)
                QUEUE_ROWS.set(len(self._waiting))

    def close(self) -> None:
        """Stops after the step in progress; what still runs or waits is told so."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._turn()
            self._fail_all("the model server is stopping; ask again")
        except BaseException as error:
            log.exception("the engine died")
            self.dead = error
            self._fail_all(f"the engine died: {type(error).__name__}: {error}")
            self._on_death(error)

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._closing or self._waiting or self._batch.rows):
                self._batch.rest()
                self._changed.wait()
            return not self._closing

    def _turn(self) -> None:
        news: News = []
        for row in [row for row in self._batch.rows if row.cancelled]:
            self._batch.leave(row)
        if self._batch.rows:
            started = time.perf_counter()
            news += self._advance(self._batch.rows, self._batch.step())
            STEP_SECONDS.labels("decode").observe(time.perf_counter() - started)
        joining = self._admitted()
        if joining:
            started = time.perf_counter()
            news += self._advance(joining, self._batch.join(joining))
            STEP_SECONDS.labels("prefill").observe(time.perf_counter() - started)
            self._note_joined(joining)
        BATCH_ROWS.set(len(self._batch.rows))
        if news:
            self._announce(news)

    def _admitted(self) -> list[Sequence]:
        joining: list[Sequence] = []
        longest_prompt = 0
        widest = max((row.reserved for row in self._batch.rows), default=0)
        with self._changed:
            while self._waiting:
                first = self._waiting[0]
                longest_prompt = max(longest_prompt, len(first.prompt))
                widest = max(widest, first.reserved)
                rows = len(self._batch.rows) + len(joining) + 1
                too_much_now = joining and (len(joining) + 1) * longest_prompt > self._prefill_tokens
                if rows > self._max_batch or rows * widest > self._cache_tokens or too_much_now:
                    break
                joining.append(self._waiting.popleft())
            QUEUE_ROWS.set(len(self._waiting))
        return joining

    def _advance(self, rows: list[Sequence], logits: Tensor) -> News:
        rows = list(rows)  # those that end leave the batch while we look
        news: News = []
        for row, picked in zip(rows, pick(logits, rows), strict=True):
            if picked is None:
                self._batch.leave(row)
                news.append((row, Failed(_not_numbers(row))))
                continue
            step = row.accept(*picked, self._end_tokens)
            if step.finish is not None:
                self._batch.leave(row)
            if step.finish is not None or row.streaming:
                news.append((row, step))
        TOKENS.labels("generated").inc(len(rows))
        return news

    def _note_joined(self, joining: list[Sequence]) -> None:
        now = time.perf_counter()
        for row in joining:
            FIRST_TOKEN_SECONDS.observe(now - row.arrived)
        TOKENS.labels("prompt").inc(sum(len(row.prompt) for row in joining))
        KV_CACHE_BYTES.set(self._batch.cache_bytes)

    def _fail_all(self, why: str) -> None:
        with self._changed:
            left = [*self._batch.rows, *self._waiting]
            self._waiting.clear()
            self._closing = True
        if left:
            self._announce([(row, Failed(why)) for row in left])


def _not_numbers(row: Sequence) -> str:
    of = f"adapter '{row.adapter.name}'" if row.adapter else "the base model"
    return f"{of} gave logits that are not numbers; its weights are damaged or overflow in this dtype"
