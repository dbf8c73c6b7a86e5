"""A champion and a candidate that are equally right must look equal on the holdout that selection leaves behind.

The traffic is simulated, everything else is real: grouping, selection and curation as the service runs them. Beside it
stands the naive way, the same curation on samples picked because the champion failed.
"""

import itertools
import math
import random
from dataclasses import dataclass
from statistics import mean

import pytest

from services.annotation.answer_schema import schema_errors
from services.annotation.curation import Accepted, Correction, curate
from services.annotation.grouping import group_key, question, split_of
from services.annotation.selection import Candidate, Observed, Opinion, choose, daily_quota, nominate
from shared.workloads import Workload

WORKLOAD = Workload.model_validate(
    {
        "base": "tiny",
        "answer_schema": {"type": "object", "required": ["queue"]},
        "selection": {"daily_budget": 60, "audit_share": 0.05},
        "gate": {"holdout_share": 0.2},
    }
)
RIGHT_SHARE = 0.7  # of both versions, independently of each other
DAYS, REQUESTS_A_DAY = 10, 300
RIGHT, WRONG, BROKEN = '{"queue": "net"}', '{"queue": "power"}', "I do not know"


@dataclass(frozen=True)
class Traffic:
    """One request: what the champion said, whether the candidate would have been right, what the user thought."""

    seen: Observed
    prompt: str
    champion_right: bool
    candidate_right: bool


def a_day(rng: random.Random, numbers: "itertools.count[int]") -> list[Traffic]:
    """Failures are what users dislike, what breaks the schema and what the model was unsure of: all signals tell."""
    day = []
    for number in itertools.islice(numbers, REQUESTS_A_DAY):
        prompt = " ".join(f"{number:x}".translate(str.maketrans("0123456789", "ghijklmnop")) + word for word in "abcde")
        key = group_key([{"role": "user", "content": prompt}], None, WORKLOAD.grouping)
        right = rng.random() < RIGHT_SHARE
        answer = RIGHT if right else rng.choice([WRONG, BROKEN])
        disliked = rng.random() < (0.02 if right else 0.5)
        seen = Observed(
            answer_id=f"a{number}",
            answer=answer,
            split=split_of(key.digest, WORKLOAD.gate.holdout_share),
            straddles=False,
            cut_off=False,
            schema_valid=not schema_errors(answer, WORKLOAD.answer_schema),
            confidence=rng.uniform(0.5, 1.0) if right else rng.uniform(0.3, 0.9),
            opinions=[Opinion("down", None, None)] if disliked else [],
        )
        day.append(Traffic(seen, prompt, right, rng.random() < RIGHT_SHARE))
    return day


def corrected(traffic: Traffic) -> bool:
    """The expert is always right; does curation make an example of it?"""
    asked = question([{"role": "user", "content": traffic.prompt}])
    verdict = "good" if traffic.champion_right else "fix"
    ideal = None if traffic.champion_right else RIGHT
    correction = Correction(verdict, ideal, frozenset(), asked, traffic.prompt, traffic.seen.answer)  # type: ignore[arg-type]
    return isinstance(curate(correction, [], WORKLOAD.answer_schema), Accepted)


def shown(queue: dict[str, tuple[float, Traffic]], quota: int) -> list[Traffic]:
    """What one day's quota takes from the queue, which keeps the rest for tomorrow."""
    order = sorted(queue, key=lambda answer_id: (queue[answer_id][0], answer_id))
    picked = choose([Candidate(i, i, i) for i in order], quota)
    return [queue.pop(candidate.answer_id)[1] for candidate in picked]


def holdout_by_the_rule(seed: int) -> list[Traffic]:
    rng, numbers = random.Random(seed), itertools.count(seed * 100_000)
    queue: dict[str, tuple[float, Traffic]] = {}
    taken: list[Traffic] = []
    for _ in range(DAYS):
        for traffic in a_day(rng, numbers):
            place = nominate(traffic.seen, WORKLOAD)
            if traffic.seen.split == "holdout" and place is not None:
                queue[traffic.seen.answer_id] = (place, traffic)
        taken += shown(queue, daily_quota(WORKLOAD, "holdout"))
    return [traffic for traffic in taken if corrected(traffic)]


def naive_holdout(seed: int, failed_share: float) -> list[Traffic]:
    """As many items, of which failed_share were picked because the champion failed and the rest at random."""
    rng, numbers = random.Random(seed), itertools.count(seed * 100_000)
    taken: list[Traffic] = []
    for _ in range(DAYS):
        day = a_day(rng, numbers)
        failures = (traffic for traffic in day if not traffic.champion_right)
        quota = daily_quota(WORKLOAD, "holdout")
        taken += [next(failures) if rng.random() < failed_share else traffic for traffic in day[:quota]]
    return [traffic for traffic in taken if corrected(traffic)]


def gain(holdout: list[Traffic]) -> float:
    """The candidate's share of right answers less the champion's, on the same items."""
    return mean(t.candidate_right - t.champion_right for t in holdout)


def centre(gains: list[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    middle = mean(gains)
    return middle, math.sqrt(mean((g - middle) ** 2 for g in gains) / (len(gains) - 1))


@pytest.mark.slow
def test_two_equal_versions_look_equal_on_the_holdout() -> None:
    runs = 40
    holdouts = [holdout_by_the_rule(seed) for seed in range(runs)]
    middle, error = centre([gain(h) for h in holdouts])
    naive, _ = centre([gain(naive_holdout(seed, failed_share=1.0)) for seed in range(10)])
    fifth, _ = centre([gain(naive_holdout(seed, failed_share=0.2)) for seed in range(10)])
    size = mean(map(len, holdouts))
    print(f"\nan equal candidate's gain on {size:.0f} held-out items, mean of {runs} runs:")
    print(f"  by the rule             {middle:+.3f} +- {error:.3f}")
    print(f"  a fifth picked by failure {fifth:+.3f}")
    print(f"  all picked by failure     {naive:+.3f}")
    assert size == DAYS * daily_quota(WORKLOAD, "holdout")
    assert abs(middle) < 3 * error < 0.05
    assert fifth > 0.08
    assert naive > 0.5


def test_the_holdout_is_as_right_as_the_traffic() -> None:
    """What the experts see of the holdout are not failures: the champion is right there as often as anywhere."""
    held_out = [traffic for seed in range(8) for traffic in holdout_by_the_rule(seed)]
    share = mean(t.champion_right for t in held_out)
    assert abs(share - RIGHT_SHARE) < 3 * math.sqrt(RIGHT_SHARE * (1 - RIGHT_SHARE) / len(held_out))
