"""Whatever joins, grows and leaves: every row finds its own keys and values, in no more memory than allowed."""

import random

import pytest
import torch

from services.model_server.cache import SlotCache

MAX_SLOTS, MAX_TOKENS = 6, 400


class Rows:
    """What the cache should hold: a number for each key, none twice."""

    def __init__(self) -> None:
        self.cache = SlotCache(1, torch.device("cpu"), MAX_SLOTS, MAX_TOKENS)
        self.rows: list[list[float]] = []
        self._next = 0.0

    def join(self, lengths: list[int]) -> None:
        new = [[self._number() for _ in range(length)] for length in lengths]
        self.rows += new
        self.cache.plan_join(lengths)
        longest = max(lengths)
        keys = torch.tensor([[-1.0] * (longest - len(row)) + row for row in new])[:, None, :, None]
        self.cache.past.update(keys, -keys, 0)

    def grow(self) -> None:
        for row in self.rows:
            row.append(self._number())
        at = self.cache.plan_decode()
        assert at.tolist() == [len(row) - 1 for row in self.rows]
        keys = torch.tensor([[row[-1]] for row in self.rows])[:, None, :, None]
        found, negated = self.cache.past.update(keys, -keys, 0)
        for number, row in enumerate(self.rows):
            assert found[number, 0, : len(row), 0].tolist() == row
            assert negated[number, 0, : len(row), 0].tolist() == [-value for value in row]

    def leave(self, number: int) -> None:
        self.cache.remove(number)
        last = self.rows.pop()
        if number < len(self.rows):
            self.rows[number] = last

    def fits(self, lengths: list[int]) -> bool:
        longest = max((*lengths, *map(len, self.rows)), default=0) + 1
        rows = len(self.rows) + len(lengths)
        return rows <= MAX_SLOTS and rows * longest <= MAX_TOKENS

    def _number(self) -> float:
        self._next += 1
        return self._next


@pytest.mark.parametrize("seed", range(20))
def test_every_row_finds_its_own(seed: int) -> None:
    chance, rows = random.Random(seed), Rows()
    for _ in range(300):
        if rows.rows and (chance.random() < 0.1 or not rows.fits([])):
            rows.leave(chance.randrange(len(rows.rows)))
        joining = [chance.choice([1, 3, 20, 60, 150]) for _ in range(chance.randrange(1, 3))]
        if chance.random() < 0.3 and rows.fits(joining):
            rows.join(joining)
        if rows.rows and rows.fits([]):
            rows.grow()
        assert rows.cache.bytes_held() <= MAX_TOKENS * 2 * 4  # keys and values of four bytes


def test_a_short_row_that_joins_a_long_one_takes_nothing_from_it() -> None:
    rows = Rows()
    rows.join([199])
    rows.join([3])
    rows.grow()
