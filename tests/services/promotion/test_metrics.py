from prometheus_client import REGISTRY

from services.promotion.metrics import show_champions


def shown(workload: str, version: str) -> float | None:
    return REGISTRY.get_sample_value("ratchet_promotion_champion_info", {"workload": workload, "version": version})


def test_only_the_version_that_serves_has_a_series() -> None:
    show_champions([("triage", "triage@1"), ("tone", "tone@1")])
    show_champions([("triage", "triage@2"), ("tone", "tone@1")])
    assert shown("triage", "triage@2") == shown("tone", "tone@1") == 1
    assert shown("triage", "triage@1") is None
    show_champions([])
    assert shown("tone", "tone@1") is None
