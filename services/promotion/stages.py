"""The stages of a model version and the allowed edges between them; all of them, in one table. Pure."""

from enum import StrEnum


class Stage(StrEnum):
    NEW = "NEW"  # before the first edge; no row ever stays here
    CANDIDATE = "CANDIDATE"
    EVALUATING = "EVALUATING"
    CHAMPION = "CHAMPION"
    REJECTED = "REJECTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    RETIRED = "RETIRED"


_ALLOWED: dict[Stage, frozenset[Stage]] = {
    # CHAMPION at once is for the bare base alone: somebody has to serve before the first training.
    Stage.NEW: frozenset({Stage.CANDIDATE, Stage.CHAMPION}),
    Stage.CANDIDATE: frozenset({Stage.EVALUATING, Stage.INCONCLUSIVE}),
    Stage.EVALUATING: frozenset({Stage.CHAMPION, Stage.REJECTED, Stage.INCONCLUSIVE}),
    Stage.CHAMPION: frozenset({Stage.RETIRED}),
    Stage.RETIRED: frozenset({Stage.CHAMPION}),
    Stage.REJECTED: frozenset(),
    Stage.INCONCLUSIVE: frozenset(),
}
_BY_OVERRIDE: dict[Stage, frozenset[Stage]] = {
    Stage.REJECTED: frozenset({Stage.CHAMPION}),
    Stage.INCONCLUSIVE: frozenset({Stage.CHAMPION}),
}


def objection(before: Stage, after: Stage, *, override: bool = False) -> str | None:
    """Why this edge may not be taken, in words; None when it may."""
    if after in _ALLOWED[before]:
        return None
    if after in _BY_OVERRIDE.get(before, frozenset()):
        if override:
            return None
        return f"it did not pass the gate ({before}); promoting it needs override and a why"
    return f"a version that is {before} cannot become {after}"
