from services.promotion.ancestry import ancestors
from services.promotion.repository import Registry
from services.promotion.tables import ModelRow
from shared.db import transaction
from tests.services.promotion.stage_set import WORKLOAD, Stage


def test_the_line_goes_down_to_the_base_and_ends_where_a_rollback_closed_a_ring(stage: Stage) -> None:
    base = stage.champion()
    with transaction(stage.engine) as session:
        registry = Registry(session)
        for name, before in (("a", base), ("b", "t@a"), ("c", "t@d"), ("d", "t@c"), ("e", "t@unknown")):
            row = ModelRow(
                version=f"t@{name}", workload=WORKLOAD, base="tiny", created_at="2026", measured_against=before
            )
            session.add(row)
        session.flush()
        lines = {name: [r.version for r in ancestors(registry, f"t@{name}")] for name in "bce"}
    assert lines == {"b": ["t@b", "t@a", base], "c": ["t@c", "t@d"], "e": ["t@e"]}
