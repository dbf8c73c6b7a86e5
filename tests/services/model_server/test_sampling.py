from typing import Any

import pytest
import torch

from services.model_server.sampling import pick
from services.model_server.sequence import Sampling, Sequence
from services.model_server.text import GrowingText

LOGITS = torch.tensor([0.1, 2.0, 1.0, -1.0, 1.9])


def row(tokens: list[int] | None = None, **how: Any) -> Sequence:
    sampling = Sampling(**{"max_tokens": 100} | how)
    sequence = Sequence([0], sampling, None, GrowingText(str, []), lambda _s, _w: None)
    sequence.tokens = tokens or []
    return sequence


def chosen(rows: list[Sequence], logits: torch.Tensor = LOGITS) -> list[int]:
    picked = pick(logits.expand(len(rows), -1), rows)
    assert None not in picked
    return [p[0] for p in picked if p is not None]


def draws(count: int, **how: Any) -> torch.Tensor:
    return torch.tensor(chosen([row(seed=n, **how) for n in range(count)]))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert chosen([row(temperature=0.0)] * 3) == [1, 1, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    torch.manual_seed(0)
    count = 20_000
    shares = torch.bincount(torch.tensor(chosen([row(temperature=temperature)] * count)), minlength=5) / count
    expected = (LOGITS / temperature).softmax(-1)
    assert torch.allclose(shares, expected, atol=4 * float((expected / count).sqrt().max()))


def test_a_seed_draws_the_same_whoever_is_beside_it() -> None:
    alone = [chosen([row(seed=n, temperature=1.0)])[0] for n in range(40)]
    neighbours = [row(temperature=1.5), row(temperature=0.0), row(temperature=1.0, top_p=0.5)]
    beside = [chosen([*neighbours, row(seed=n, temperature=1.0)])[-1] for n in range(40)]
    assert alone == beside
    assert len(set(alone)) > 1


def test_a_seeded_row_goes_on_drawing() -> None:
    one = row(seed=3, temperature=1.0)
    assert len({chosen([one])[0] for _ in range(40)}) > 1


def test_top_k_keeps_the_k_likeliest() -> None:
    assert set(draws(400, temperature=3.0, top_k=2).tolist()) == {1, 4}


@pytest.mark.parametrize(("top_p", "kept"), [(1e-9, {1}), (0.5, {1, 4}), (0.8, {1, 2, 4}), (1.0, {0, 1, 2, 3, 4})])
def test_top_p_keeps_the_smallest_set_that_holds_it(top_p: float, kept: set[int]) -> None:
    assert set(draws(1500, temperature=1.0, top_p=top_p).tolist()) == kept


def test_penalties_make_what_was_said_less_likely() -> None:
    said = [1, 1, 1]
    assert chosen([row(said, temperature=0.0, frequency_penalty=0.5)]) == [4]
    assert chosen([row(said, temperature=0.0, presence_penalty=0.05)]) == [1]
    assert chosen([row(said, temperature=0.0, presence_penalty=0.2), row(temperature=0.0)]) == [4, 1]


def test_the_chosen_token_is_listed_first_even_when_unlikely() -> None:
    picked = pick(LOGITS[None], [row(seed=5, temperature=100.0, logprobs=2)])[0]
    assert picked is not None
    token, logprob = picked
    assert logprob is not None
    assert logprob.alternatives[0] == (token, logprob.chosen)
    assert len(logprob.alternatives) == 2
    assert len({t for t, _ in logprob.alternatives}) == 2


def test_logits_that_are_no_numbers_pick_nothing() -> None:
    logits = torch.stack([LOGITS, LOGITS.clone().index_fill_(0, torch.tensor([2]), torch.nan)])
    picked = pick(logits, [row(temperature=0.0, logprobs=1), row(temperature=1.0, logprobs=1)])
    assert picked[0] is not None
    assert picked[1] is None
