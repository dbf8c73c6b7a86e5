import httpx
import pytest

from services.cli.demo.scenario import WORKLOAD
from tests.real.monitoring.watched_loop import WatchedLoop

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1300)]


def test_drift_started_one_training_although_the_alert_was_sent_again_and_again(turned: WatchedLoop) -> None:
    (training,) = turned.loop.jobs("train")
    assert (training["trigger"], training["why"], training["state"]) == ("alert", "alert Drift", "done")
    assert turned.watching.figure('ratchet_scheduler_triggers_total{trigger="alert"}') == 1
    assert turned.watching.figure('ratchet_scheduler_alerts_total{outcome="ignored"}') >= 3


def test_drift_fired_for_the_signal_that_rose_and_for_no_other(turned: WatchedLoop) -> None:
    fired = turned.watching.over('ALERTS{alertname="Drift",alertstate="firing"}', turned.began, turned.ended, 1)
    assert {(s["metric"]["workload"], s["metric"]["signal"]) for s in fired} == {(WORKLOAD, "negative_feedback")}


def test_the_candidate_that_drift_asked_for_serves(turned: WatchedLoop) -> None:
    (serving,) = turned.watching.now("ratchet_promotion_champion_info")
    assert serving["metric"]["version"] == turned.version


def test_the_scheduler_hears_nobody_without_the_token(turned: WatchedLoop) -> None:
    door = f"{turned.loop.settings.url_of('scheduler')}/v1/alerts"
    alert = {"status": "firing", "labels": {"alertname": "Drift", "workload": WORKLOAD, "action": "retrain"}}
    for headers in ({}, {"Authorization": "Bearer guessed"}):
        assert httpx.post(door, json={"alerts": [alert]}, headers=headers).status_code == 401
    headers = {"Authorization": f"Bearer {turned.token}"}
    assert httpx.post(door, json={"alerts": []}, headers=headers).status_code == 202
