"""What the search for leaks and the search for what broke found, as the report's data. Pure."""

from services.promotion import guards, where_it_broke
from services.promotion.report_data import Broke, BrokenSlice, Contamination, Overlap, SharedWords


def contamination(leakage: guards.Leakage) -> Contamination:
    return Contamination(
        searched=leakage.searched,
        versions=list(leakage.versions),
        unsearched=list(leakage.unsearched),
        groups=sorted(leakage.groups),
        examples=sorted(leakage.examples),
        overlaps=[
            Overlap(kind=o.kind, item=o.item, example=o.example, similarity=o.similarity, shared=o.shared)
            for o in leakage.overlaps
        ],
    )


def broke(found: where_it_broke.Broke) -> Broke:
    return Broke(
        items=list(found.items),
        groups=found.groups,
        right_before=found.right_before,
        slices=[
            BrokenSlice(
                slice=s.slice, right_before=s.right_before, broken=s.broken, items=list(s.items), q_value=s.q_value
            )
            for s in found.slices
        ],
        words=[
            SharedWords(words=w.words, broken=w.broken, held=w.held, odds=w.odds, p_value=w.p_value, q_value=w.q_value)
            for w in found.words
        ],
        tested=found.tested,
        prompts=found.prompts,
    )
