"""When a training starts by itself: the decision alone, without any I/O.

An occasion (enough new examples, a nightly, an accepted alert) asks for a training; then the objections are heard: one
is under way, nothing is new, the cooldown lasts. The same standing and the same moment give the same decision for ever.
By hand there are no objections: that is `POST /v1/jobs`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from apscheduler.triggers.cron import CronTrigger

from shared.workloads import Trigger as Policy


class Trigger(StrEnum):
    """What asked for a training, first in this order."""

    HAND = "hand"
    ALERT = "alert"
    NIGHTLY = "nightly"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workload stands. Times are Unix seconds."""

    new_examples: int  # since the last training with the workload's preset
    training: str | None = None  # the job that is queued or running
    last_training_at: float | None = None  # when the last one ended, or was asked for while it has not
    nightly_through: float = 0.0  # every nightly up to here has been answered
    alert: str | None = None  # an accepted alert that waits, in words


@dataclass(frozen=True, slots=True)
class Start:
    trigger: Trigger
    why: str


@dataclass(frozen=True, slots=True)
class Skip:
    """An occasion came and there is nothing to train: it is over, the next one is waited for."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    why: str


Decision = Start | Skip | Wait


def decide(policy: Policy, standing: Standing, now: float) -> Decision:
    """Whether to train this workload now."""
    occasion = by_alert(standing) or by_night(policy, standing, now) or by_count(policy, standing)
    if occasion is None:
        return Wait(_what_comes_next(policy, standing, now))
    if standing.training is not None:
        return Wait(f"{occasion.why}; training {standing.training} is under way")
    if standing.new_examples == 0:
        return Skip(f"{occasion.why}, but no example is new since the last training")
    if (until := _cooldown_until(policy, standing)) > now:
        return Wait(f"{occasion.why}; the cooldown of {policy.cooldown_minutes:g} min lasts until {moment(until)}")
    return occasion


def by_alert(standing: Standing) -> Start | None:
    return Start(Trigger.ALERT, standing.alert) if standing.alert is not None else None


def by_night(policy: Policy, standing: Standing, now: float) -> Start | None:
    """Due when a nightly lies between the last answered one and now; several missed ones are one."""
    due = next_nightly(policy, standing.nightly_through)
    if due is None or due > now:
        return None
    return Start(Trigger.NIGHTLY, f"the nightly training of {moment(due)} is due")


def by_count(policy: Policy, standing: Standing) -> Start | None:
    if standing.new_examples < policy.min_new_examples:
        return None
    return Start(Trigger.COUNT, f"{standing.new_examples} new examples, {policy.min_new_examples} are enough")


def accept_alert(policy: Policy, standing: Standing, name: str, now: float) -> Decision:
    """Whether an alert that just came may ask for a training; a refused one may come again."""
    if standing.alert is not None:
        return Wait("an alert already asked for a training of this workload, which has not begun")
    if standing.training is not None:
        return Wait(f"training {standing.training} is under way")
    if (until := _cooldown_until(policy, standing)) > now:
        return Wait(f"the cooldown of {policy.cooldown_minutes:g} min lasts until {moment(until)}")
    if standing.new_examples == 0:
        return Wait("no example is new since the last training; correct some at the desk first")
    return Start(Trigger.ALERT, f"alert {name}")


def next_nightly(policy: Policy, after: float) -> float | None:
    """The first nightly later than `after`; None when the workload has none."""
    if policy.cron is None:
        return None
    cron = CronTrigger.from_crontab(policy.cron, timezone="UTC")
    # Its own answer may be `after` itself, which is answered already; fire times are whole seconds.
    fire = cron.get_next_fire_time(None, datetime.fromtimestamp(int(after) + 1, UTC))
    return None if fire is None else float(fire.timestamp())


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cooldown_until(policy: Policy, standing: Standing) -> float:
    return 0.0 if standing.last_training_at is None else standing.last_training_at + 60 * policy.cooldown_minutes


def _what_comes_next(policy: Policy, standing: Standing, now: float) -> str:
    missing = policy.min_new_examples - standing.new_examples
    sentence = f"waits for {missing} more example{'s' if missing > 1 else ''}"
    sentence += f" ({standing.new_examples} of {policy.min_new_examples})"
    nightly = next_nightly(policy, now)
    return sentence if nightly is None else f"{sentence}, or for the nightly of {moment(nightly)}"
