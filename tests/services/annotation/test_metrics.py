from pathlib import Path

from prometheus_client import REGISTRY

from services.annotation.metrics import start_at_zero
from tests.services.annotation.annotation_world import SCHEMA, World, a_workload


def signals(workload: str, signal: str) -> float | None:
    labels = {"workload": workload, "signal": signal}
    return REGISTRY.get_sample_value("ratchet_annotation_signals_total", labels)


def test_a_sample_counts_once_a_signal_however_often_it_is_disliked(tmp_path: Path) -> None:
    world = World.in_folder(tmp_path, counted=a_workload(answer_schema=SCHEMA))
    start_at_zero(world.workloads)
    before = signals("counted", "negative_feedback")
    assert before is not None
    world.answered("a1", "router down", workload="counted")
    world.disliked("a1", "f1")
    world.disliked("a1", "f2")
    assert signals("counted", "negative_feedback") == before + 1
    assert signals("counted", "schema_invalid") == 0
    world.answered("a2", "router up", "no JSON", workload="counted")
    assert signals("counted", "schema_invalid") == 1


def test_where_there_is_no_schema_no_share_of_broken_answers_is_claimed() -> None:
    start_at_zero({"free-text": a_workload()})
    assert signals("free-text", "schema_invalid") is None
    assert signals("free-text", "negative_feedback") == 0
