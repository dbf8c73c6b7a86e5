"""The versions a candidate descends from: the champion it is measured against, that one's own, down to the bare base.

No weights pass from one to the next, since each training begins at the bare base. What passes is what was said:
experts corrected their answers, and the candidate has to beat the first of them on the same holdout.
Reads the registry, changes nothing. A version that nobody knows ends the line.
"""

from services.promotion.repository import Registry
from services.promotion.tables import ModelRow


def ancestors(registry: Registry, champion: str) -> list[ModelRow]:
    """The champion first. A rollback may lead back to a version that was met before: the line ends there."""
    found: dict[str, ModelRow] = {}
    version: str | None = champion
    while version is not None and version not in found and (row := registry.model(version)) is not None:
        found[version] = row
        version = row.measured_against or row.predecessor
    return list(found.values())
