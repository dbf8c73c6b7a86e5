from datetime import UTC, datetime

import pytest

from services.scheduler.triggers import Skip, Standing, Start, Trigger, Wait, accept_alert, decide, next_nightly
from shared.workloads import Trigger as Policy


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-03-02 12:00")
POLICY = Policy(min_new_examples=50, cron="0 2 * * *", cooldown_minutes=60)
QUIET = Standing(new_examples=7, nightly_through=at("2026-03-02 02:00"))


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (QUIET, Wait("waits for 43 more examples (7 of 50), or for the nightly of 2026-03-03 02:00:00 UTC")),
        (
            Standing(50, nightly_through=NOW),
            Start(Trigger.COUNT, "50 new examples, 50 are enough"),
        ),
        (
            Standing(50, training="j1", nightly_through=NOW),
            Wait("50 new examples, 50 are enough; training j1 is under way"),
        ),
        (
            Standing(50, last_training_at=at("2026-03-02 11:30"), nightly_through=NOW),
            Wait("50 new examples, 50 are enough; the cooldown of 60 min lasts until 2026-03-02 12:30:00 UTC"),
        ),
        (
            Standing(50, last_training_at=at("2026-03-02 11:00"), nightly_through=NOW),
            Start(Trigger.COUNT, "50 new examples, 50 are enough"),
        ),
        (
            Standing(1, nightly_through=at("2026-03-01 02:00")),
            Start(Trigger.NIGHTLY, "the nightly training of 2026-03-02 02:00:00 UTC is due"),
        ),
        (
            Standing(0, nightly_through=at("2026-03-01 02:00")),
            Skip(
                "the nightly training of 2026-03-02 02:00:00 UTC is due, but no example is new since the last training"
            ),
        ),
        (Standing(60, alert="alert Drift", nightly_through=NOW), Start(Trigger.ALERT, "alert Drift")),
        (
            Standing(0, alert="alert Drift", nightly_through=NOW),
            Skip("alert Drift, but no example is new since the last training"),
        ),
    ],
)
def test_every_standing_has_one_decision_with_its_reason(standing: Standing, expected: object) -> None:
    assert decide(POLICY, standing, NOW) == expected


def test_several_missed_nightlies_are_one() -> None:
    long_down = Standing(3, nightly_through=at("2026-02-01 02:00"))
    assert isinstance(decide(POLICY, long_down, NOW), Start)
    answered = Standing(3, nightly_through=NOW)
    assert isinstance(decide(POLICY, answered, NOW), Wait)


def test_a_nightly_is_due_at_its_minute_and_not_before() -> None:
    standing = Standing(3, nightly_through=at("2026-03-01 02:00"))
    assert isinstance(decide(POLICY, standing, at("2026-03-02 01:59")), Wait)
    assert isinstance(decide(POLICY, standing, at("2026-03-02 02:00")), Start)


def test_a_nightly_that_was_answered_within_its_own_second_does_not_come_again() -> None:
    fire = at("2026-03-02 02:00")
    assert next_nightly(POLICY, fire) == at("2026-03-03 02:00")
    assert next_nightly(POLICY, fire + 0.3) == at("2026-03-03 02:00")
    assert next_nightly(POLICY, fire - 0.3) == fire


def test_without_a_cron_there_is_no_nightly() -> None:
    policy = Policy(min_new_examples=5)
    assert decide(policy, Standing(4), NOW) == Wait("waits for 1 more example (4 of 5)")


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (Standing(5, alert="alert A"), "an alert already asked"),
        (Standing(5, training="j1"), "training j1 is under way"),
        (Standing(5, last_training_at=NOW - 60), "the cooldown of 60 min lasts until"),
        (Standing(0), "no example is new"),
    ],
)
def test_an_alert_is_refused_with_the_reason(standing: Standing, why: str) -> None:
    decision = accept_alert(POLICY, standing, "Drift", NOW)
    assert isinstance(decision, Wait)
    assert why in decision.why


def test_an_alert_is_accepted_with_one_new_example() -> None:
    assert accept_alert(POLICY, Standing(1), "Drift", NOW) == Start(Trigger.ALERT, "alert Drift")
