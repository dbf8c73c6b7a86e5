"""What is wrong with a workload's figures, said aloud with the setting to change. Pure."""

from dataclasses import dataclass

from shared.workloads import Workload

ENOUGH_SAMPLES = 50  # below that many no share means anything
GIANT_SHARE = 0.3  # of the samples in one group


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one workload. Groups of examples are those with an active example."""

    samples: int
    nominated: int
    waiting: int
    corrected: int
    corrected_today: int
    shown_today: int
    train: int
    holdout: int
    train_groups: int
    holdout_groups: int
    rejected: dict[str, int]
    knowledge: int
    groups: int
    largest_group: int  # samples in it
    without_key: int  # samples whose application sent no group
    prompts: int
    crowded_prompts: int  # near-duplicates of these may be missed: most of their bands were full
    straddling: int = 0  # samples that resemble prompts on both sides of the border and are shown to nobody


def advice(name: str, workload: Workload, now: Figures) -> list[str]:
    """Sentences for people; none when nothing stands out."""
    found = [
        *_grouping(name, workload, now),
        *_holdout(name, workload, now),
        *_budget(name, workload, now),
    ]
    if now.samples == 0:
        found.append(f"no answer was stored yet; send requests with model {name!r} to the gateway")
    return found


def _grouping(name: str, workload: Workload, now: Figures) -> list[str]:
    if now.samples < ENOUGH_SAMPLES:
        return []
    section, found = f"[workloads.{name}.grouping]", []
    if now.largest_group > GIANT_SHARE * now.samples:
        found.append(
            f"one prompt group holds {now.largest_group / now.samples:.0%} of {now.samples} samples; "
            f"{_finer(section, workload)}"
        )
    if workload.grouping.key == "metadata.group" and now.without_key:
        found.append(
            f"{now.without_key} of {now.samples} samples came without metadata.group and were grouped by their prompt; "
            f'send it with every request, or set key = "prompt" in {section}'
        )
    if now.straddling > 0.1 * now.samples:
        found.append(
            f"{now.straddling} of {now.samples} samples resemble prompts on both sides of the holdout border and are "
            f"never shown; set {_stricter(workload)} in {section}"
        )
    if now.crowded_prompts > 0.1 * now.prompts:
        by_key = workload.grouping.key == "metadata.group"
        remedy = _stricter(workload) if by_key else 'key = "metadata.group"'
        found.append(
            f"{now.crowded_prompts} of {now.prompts} prompts share most of their words with very many others, so "
            f"near-duplicates may be missed; set {remedy} in {section}"
        )
    return found


def _holdout(name: str, workload: Workload, now: Figures) -> list[str]:
    needed, share = workload.gate.min_groups, workload.gate.holdout_share
    if now.holdout_groups >= needed or now.samples < ENOUGH_SAMPLES:
        return []
    found = [
        f"the holdout has {now.holdout_groups} of the {needed} groups the gate needs; until then it can only say "
        "INCONCLUSIVE, so keep correcting"
    ]
    # With twice the traffic that should be enough, it is the grouping that keeps the groups few.
    if now.samples * share >= 2 * needed and now.groups * share < needed:
        found.append(
            f"{now.samples} samples fell into only {now.groups} groups, too few for min_groups = {needed} at "
            f"holdout_share = {share:g}; {_finer(f'[workloads.{name}.grouping]', workload)}, or lower min_groups in "
            f"[workloads.{name}.gate]"
        )
    return found


def _budget(name: str, workload: Workload, now: Figures) -> list[str]:
    if now.nominated == 0 or now.shown_today < workload.selection.daily_budget:
        return []
    return [
        f"today's budget of {workload.selection.daily_budget} items is spent; of {now.nominated} held "
        f"back those that repeat nothing shown lately wait for tomorrow; raise daily_budget in "
        f"[workloads.{name}.selection] if the experts have time"
    ]


def _stricter(workload: Workload) -> str:
    """The setting that makes fewer prompts alike."""
    higher = f"a higher similarity than {workload.grouping.similarity:g}"
    if workload.grouping.similarity < 1:
        return f"{higher} or ignore_digits = false" if workload.grouping.ignore_digits else higher
    return "ignore_digits = false" if workload.grouping.ignore_digits else "a coarser metadata.group"


def _finer(section: str, workload: Workload) -> str:
    """The setting that makes groups smaller, the mildest first."""
    grouping = workload.grouping
    if grouping.key == "metadata.group":
        return "send a finer metadata.group (a document instead of a customer)"
    milder = []
    if grouping.ignore_digits:
        milder.append("ignore_digits = false")
    if grouping.similarity < 0.95:
        milder.append(f"a higher similarity than {grouping.similarity:g}")
    choices = " or ".join([*milder, 'key = "metadata.group"'])
    return f"set {choices} in {section}"
