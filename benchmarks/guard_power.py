"""How large a general suite must be for the forgetting guard to tell: simulated, seeded, a minute on one core.

    python -m benchmarks.guard_power [--simulations 2000]

Each candidate truly gained on 1 % of the items and lost `fall` more than that. The guard asks for Tango's one-sided
95 % bound within 3 points: it passes, cannot tell (INCONCLUSIVE), or fails (REJECT).
"""

import argparse
from functools import cache

import numpy as np
from rich.console import Console
from rich.table import Table

from services.promotion.statistics import tango_lower_bound

MARGIN, GAINED = 0.03, 0.01
SIZES, FALLS = (300, 600, 1000), (0.0, 0.005, 0.01, 0.02, 0.03, 0.05)


def shares(n: int, fall: float, simulations: int) -> tuple[float, float, float]:
    """Of the simulated candidates: passed, cannot tell, failed."""
    bound = cache(tango_lower_bound)
    draws = np.random.default_rng(n).multinomial(n, [GAINED, GAINED + fall, 1 - 2 * GAINED - fall], size=simulations)
    passed = failed = 0
    for gained, lost, _ in draws.tolist():
        failed += (lost - gained) / n > MARGIN + 1e-9
        passed += bound(gained, lost, n) > -MARGIN
    return passed / simulations, 1 - (passed + failed) / simulations, failed / simulations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    simulations = parser.parse_args().simulations
    table = Table("items", *(f"true fall {fall:.1%}" for fall in FALLS), title="passed / cannot tell / failed, %")
    for n in SIZES:
        cells = (shares(n, fall, simulations) for fall in FALLS)
        table.add_row(str(n), *(" / ".join(f"{share * 100:.0f}" for share in cell) for cell in cells))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
