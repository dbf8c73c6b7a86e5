"""Style, by the rules a workload declares. The score is the share of rules kept; right means all of them.

The expected answer is not looked at: style says how an answer is written, not whether it is true.
"""

from training.suites import rules
from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer


def make(options: Options, schema_check: SchemaCheck | None) -> Scorer:
    checks = rules.checks(options)

    def scorer(attempt: Attempt) -> Score:
        kept = {name: keeps(attempt.answer) for name, keeps in checks.items()}
        return Score(sum(kept.values()) / len(kept), all(kept.values()), kept)

    return scorer
