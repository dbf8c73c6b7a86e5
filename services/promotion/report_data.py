"""The shape of a promotion report's data: what the judge writes down, what the page shows, what `report.json` holds.

JSON all the way down: lists, no tuples. Shares are 0-1. `None` is "no figure": it was not measured, or could not be;
it is never 0. Text of prompts and answers is as captured: whoever shows it escapes it.
"""

from typing import Literal, NotRequired, TypedDict

Interval = list[float]  # [low, high], two-sided 95 % unless said otherwise
Outcome = Literal["PROMOTE", "REJECT", "INCONCLUSIVE"]


class Policy(TypedDict):
    """The workload's gate as it was when the verdict fell; shared.workloads.Gate."""

    alpha: float
    floor: float  # the least observed gain
    min_groups: int
    general_margin: float  # how much general ability may fall
    holdout_share: float
    slice_margin: NotRequired[float]  # how much one slice may fall
    slice_min_groups: NotRequired[int]  # a smaller slice need not prove that it did not fall
    must_pass: NotRequired[list[str]]  # slices in which every answer has to be right
    length_change: NotRequired[float]  # of the median answer's length, up or down
    alpha_budget: NotRequired[float]  # of one holdout version
    holdout_growth: NotRequired[float]  # new groups, as a share, that bring a new budget


class SideScores(TypedDict):
    """One version on the holdout; means over items, but `score` and its `interval`: means over prompt groups."""

    exact: float | None
    fields: float | None  # mean share of fields that are right; None without an answer schema
    schema_valid: float | None
    interval: Interval | None  # of `score`; of `exact` where no score is given
    score: NotRequired[float | None]  # what the verdict compares, by the workload's scorer


class Ledger(TypedDict):
    """The chance that this version of the holdout was given; services/promotion/ledger.py."""

    holdout_version: int
    spent_before: float  # alpha, by decisions before this one
    spent: float  # by this decision; 0: luck had no chance
    budget: float
    decisions: int  # that spent, this one included where it did
    groups_needed: int  # new ones that bring the next budget


class FieldScores(TypedDict):
    name: str
    champion: float | None
    candidate: float | None


class Paired(TypedDict):
    """Groups by who was right; None in the report when scores are graded and right or wrong does not exist."""

    both: int
    only_champion: int
    only_candidate: int
    neither: int


class Holdout(TypedDict):
    snapshot_id: str
    items: int
    groups: int
    champion: SideScores
    candidate: SideScores
    per_field: list[FieldScores]
    paired: Paired | None
    gain: float | None  # candidate minus champion, mean over groups
    gain_interval: Interval | None
    interval_method: NotRequired[str]  # "Tango's score interval", "cluster bootstrap"
    test: str  # "mid-p McNemar", "cluster sign-flip permutation"
    p_value: float | None
    mcnemar_p: NotRequired[float | None]  # of `paired`, whichever test decided
    scorer: NotRequired[str | None]  # that scored each answer
    schema_checked: NotRequired[bool]  # against the workload's answer schema


class Guard(TypedDict):
    """Something a candidate must not make worse. `difference` is candidate minus champion in the guard's unit."""

    name: str
    champion: float | None
    candidate: float | None
    margin: float | None  # how much worse is allowed, a positive number; None for a guard that is yes or no
    difference: float | None
    bound: float | None  # one-sided confidence bound of the difference, on its bad side
    passed: bool | None  # None: could not be judged
    why: str  # one sentence
    unit: NotRequired[Literal["share", "seconds", "tokens", "characters", "count"]]  # share unless given
    worse_is: NotRequired[Literal["lower", "higher"]]  # lower unless given


class General(TypedDict):
    """The general suite: what the model could do before and should still do."""

    items: int
    champion: float | None
    candidate: float | None
    champion_interval: NotRequired[Interval | None]
    candidate_interval: NotRequired[Interval | None]


class Training(TypedDict):
    preset: str
    examples: int | None
    replay: int | None  # old examples mixed in against forgetting
    steps: int | None
    seconds: float | None
    final_loss: float | None
    losses: list[list[float]]  # [step, loss], in order
    dev_losses: list[list[float]]  # the same on examples the training did not learn from; may be empty
    seed: NotRequired[int | None]
    base: NotRequired[str | None]  # as the training was given it; a folder's last part only


class Changed(TypedDict):
    """One holdout item that one side got right and the other did not."""

    item: str
    prompt: str  # the last thing the user said
    expected: str
    champion_answer: str
    candidate_answer: str


class Overlap(TypedDict):
    """A holdout item whose text stands in a training example; services/promotion/contamination.py."""

    kind: Literal["identical", "13-gram", "near-duplicate"]
    item: str
    example: str
    similarity: float  # Jaccard of the word 3-grams
    shared: str  # words in common, folded


class Contamination(TypedDict):
    """What of the holdout the candidate and its ancestry were trained on; all of it, not a sample."""

    searched: int  # training examples
    versions: list[str]  # whose snapshots were searched
    unsearched: list[str]  # ancestors whose snapshot cannot be read any more
    groups: list[str]
    examples: list[str]
    overlaps: list[Overlap]


class SharedWords(TypedDict):
    """A run of words that broken items have more often than those that held; services/promotion/where_it_broke.py."""

    words: str
    broken: int  # groups
    held: int
    odds: float
    p_value: float
    q_value: float


class BrokenSlice(TypedDict):
    slice: str
    right_before: int  # groups
    broken: int
    items: list[str]
    q_value: float


class Broke(TypedDict):
    """What was right and is not; ids of all of it, not a sample."""

    items: list[str]
    groups: int
    right_before: int  # groups
    slices: list[BrokenSlice]
    words: list[SharedWords]
    tested: int  # runs of words
    prompts: bool


class Lineage(TypedDict):
    run_uri: str | None
    snapshot_id: str | None  # the training snapshot's
    snapshot_uri: str | None
    examples: int | None
    base: str | None
    evaluation_uri: NotRequired[str | None]
    holdout_uri: NotRequired[str | None]
    adapter_sha256: NotRequired[str | None]


class Report(TypedDict):
    workload: str
    version: str  # the candidate
    champion: str  # the version it was measured against
    verdict: Outcome
    reasons: list[str]  # sentences, the deciding one first
    decided_at: str  # RFC 3339, UTC
    policy: Policy
    holdout: Holdout | None  # None: the evaluation never came to an end
    guards: list[Guard]
    general: General | None  # None: the model has no general suite
    training: Training | None  # None: a version that was not trained here
    examples_better: list[Changed]  # a sample; `paired` has the full counts
    examples_worse: list[Changed]
    lineage: Lineage
    ledger: NotRequired[Ledger | None]  # None: the figures could not be looked at
    contamination: NotRequired[Contamination | None]  # None: not searched
    broke: NotRequired[Broke | None]  # None: the two sides could not be compared
    harness_sha256: str | None  # of the code that scored both sides
