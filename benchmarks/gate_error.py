"""How often a candidate that is no better is promoted: at one try, and of 30 on one holdout, by the ledger and without.

    python -m benchmarks.gate_error [--holdouts 20000]

Seeded; ten seconds on one core. Champion and candidates are equally good: right on 70 % of all prompts. A candidate
disagrees with the champion on a share of the prompts, half of these in its favour. The champion's answers on a holdout
stay the same for all tries, so a holdout on which it was unlucky flatters every candidate. The rule is the gate's
(`gate.passes`, mid-p McNemar, alpha 0.01, floor 0.03); a sample of the tries is put to `gate.judge` whole,
which must say the same. With the ledger only the decisions that its budget pays for can promote, and so only the first
of the tries. Writes benchmarks/results/gate_error.json.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from services.promotion.gate import Outcome, Policy, judge, passes
from services.promotion.guards import Leakage
from services.promotion.ledger import Account, holdout_version, marks, needed
from services.promotion.measurement import Item, Side
from services.promotion.statistics import mcnemar_mid_p
from shared.gate_policy import Gate

RESULTS = Path(__file__).with_name("results") / "gate_error.json"
ALPHA, FLOOR, ACCURACY, TRIES = 0.01, 0.03, 0.7, 30
GROUPS, DISAGREE = (60, 200, 300), (0.1, 0.2, 0.4)
JUDGED = 20  # tries a row that the whole gate looks at; half of them promoted where there are any


def simulate(groups: int, disagree: float, holdouts: int) -> dict[str, Any]:
    """One row: the share of tries, and of holdouts after TRIES tries, on which an equal candidate was promoted."""
    rng = np.random.default_rng([groups, round(disagree * 1000)])
    right = rng.binomial(groups, ACCURACY, size=(holdouts, 1))  # the champion's, once for each holdout
    shape = (holdouts, TRIES)
    lost = rng.binomial(np.broadcast_to(right, shape), disagree / 2 / ACCURACY)
    gained = rng.binomial(np.broadcast_to(groups - right, shape), disagree / 2 / (1 - ACCURACY))
    pairs, where = np.unique(np.stack([lost.ravel(), gained.ravel()]), axis=1, return_inverse=True)
    verdicts = np.array([is_promoted(int(a), int(b), groups) for a, b in pairs.T])
    promoted = verdicts[where.reshape(shape)]
    _check_with_the_gate(right, lost, gained, promoted, groups)
    return {
        "groups": groups,
        "disagree": disagree,
        "one_try": float(promoted.mean()),
        "after_tries": float(promoted.any(axis=1).mean()),
        "with_ledger": float(promoted[:, : paid_for(groups)].any(axis=1).mean()),
    }


@cache
def paid_for(groups: int) -> int:
    """How many of the tries the ledger lets the gate decide, by the default policy but for its level."""
    gate = Gate(alpha=ALPHA, floor=FLOOR)
    names, version, decided = marks(map(str, range(groups))), None, 0
    for _ in range(TRIES):
        version, missing = holdout_version(version, names, gate.holdout_growth)
        due = needed(version.size, gate.holdout_growth)
        decided += Account(version, gate.budget, decided * ALPHA, decided, missing, due).allows(ALPHA)
    return decided


@cache
def is_promoted(lost: int, gained: int, groups: int) -> bool:
    return passes((gained - lost) / groups, mcnemar_mid_p(lost, gained), ALPHA, FLOOR)


def judged(right: int, lost: int, gained: int, groups: int) -> Outcome:
    """The whole gate's verdict on a candidate that lost and gained so many of the champion's `right` groups."""
    champion = [place < right for place in range(groups)]
    candidate = [lost <= place < right + gained for place in range(groups)]
    policy = Policy(ALPHA, FLOOR, groups, 0.03, general_required=False, schema_required=False)
    return judge(_side("champion", champion), _side("candidate", candidate), policy, Leakage()).outcome


def _side(version: str, right: list[bool]) -> Side:
    items = tuple(Item(str(place), str(place), float(is_right), is_right) for place, is_right in enumerate(right))
    return Side(version, "the same", items)


def _check_with_the_gate(
    right: np.ndarray, lost: np.ndarray, gained: np.ndarray, promoted: np.ndarray, groups: int
) -> None:
    for wanted in (True, False):
        for holdout, attempt in np.argwhere(promoted == wanted)[: JUDGED // 2]:
            case = int(right[holdout, 0]), int(lost[holdout, attempt]), int(gained[holdout, attempt])
            outcome = judged(*case, groups)
            if (outcome == Outcome.PROMOTE) != wanted:
                raise SystemExit(f"the gate says {outcome} of right, lost, gained = {case}; the simulation does not")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holdouts", type=int, default=20_000)
    holdouts = parser.parse_args().holdouts
    rows = [simulate(groups, disagree, holdouts) for groups in GROUPS for disagree in DISAGREE]
    table = Table(
        "prompt groups", "answers that differ", "promoted at one try", f"after {TRIES} tries", "with the ledger"
    )
    for row in rows:
        shares = f"{row['one_try']:.2%}", f"{row['after_tries']:.1%}", f"{row['with_ledger']:.1%}"
        table.add_row(str(row["groups"]), f"{row['disagree']:.0%}", *shares)
    Console(width=100).print(table)
    facts = {"alpha": ALPHA, "floor": FLOOR, "accuracy": ACCURACY, "tries": TRIES, "holdouts": holdouts, "rows": rows}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
