"""`ratchet init`: a commented ratchet.toml to start from, and the schema it names."""

from pathlib import Path

from shared.errors import BadConfig

STARTER = """\
# Ratchet's one file: the base models you serve and the workloads that use them.
# Check it and start everything with `ratchet up`. Every key is shown; commented ones have the value that holds anyway,
# or, where they say "none", an example.

[models.tiny]
# a hub name ("org/model"), a folder with safetensors, or the small model that comes along
path = "builtin:tiny"
# items the model should go on getting right, JSONL; leave out: no forgetting guard
general_suite = "builtin:tiny/general_suite.jsonl"
# general examples mixed into every training against forgetting, JSONL
replay = "builtin:tiny/general_replay.jsonl"

# [models.tiny.price]            # none; what its answers cost, for the reports: nothing is billed by it
# currency = "USD"
# prompt_million_tokens = 0
# answer_million_tokens = 0
# device_hour = 0                # of the machine that answers

# One section a task. Its name is what applications send as "model".
[workloads.support-triage]
base = "tiny"                    # a section of [models]
# put in front of requests that bring no system message of their own
system_prompt = "You triage support tickets for the service desk."
answer_schema = "support-triage.schema.json"         # JSON Schema of a right answer: a file or a table; optional
# "exact": the whole text; "json_fields": field by field, needs answer_schema; "text", "style", "refusal", "code", and
# those of installed packages: docs/scorers.md
scorer = "json_fields"
# preset = "default"             # how to train: default, careful (more replay, gentler), careless (no replay)

[workloads.support-triage.scorer_options]   # each scorer's own: docs/scorers.md
# tolerance = {}                 # of json_fields, such as {amount = {absolute = 0.01}, due = {days = 1}}

[workloads.support-triage.consistency]  # asking the same again in an evaluation, to see how steady the answers are
# answers = 0                    # for each held-out item: 0, or 2-50
# temperature = 0.7              # what the application asks with

[workloads.support-triage.grouping]     # which prompts mean the same; a group never straddles training and holdout
# key = "prompt"                 # or "metadata.group": what your application sends (customer, document)
# ignore_digits = true           # "ticket 17" and "ticket 18" are one group
similarity = 0.8                 # 0-1, Jaccard of word 3-grams from which prompts are one group; 1: only equal ones

[workloads.support-triage.selection]    # what is worth an expert's minute
# daily_budget = 100             # items a day (UTC)
# audit_share = 0.05             # 0-1, picked at random among answers without any signal
# low_confidence = 0.6           # 0-1, mean token probability below which an answer is shown; needs logprobs asked for
# revisit_days = 30              # a question that is asked again is shown again after so many days: house rules change

[workloads.support-triage.desk]         # how experts are asked, where each has a login (Argilla)
# answers_per_item = 1           # 1-3; with 2 or 3 annotators have to agree, else a reviewer decides
# gold = "gold.jsonl"            # none; items with known verdicts, to see how annotators do (docs/argilla.md)
# gold_share = 0.05              # 0-1, of the items shown

[workloads.support-triage.trigger]      # when a training starts by itself
# min_new_examples = 50
# cron = "0 2 * * *"             # none; UTC; nightly, when there is anything new
# cooldown_minutes = 60

[workloads.support-triage.gate]         # what a candidate must show before it serves
# alpha = 0.01                   # two-sided level of one look: an equal model passes alpha/2 of the time
# alpha_budget = 0.05            # none: 5 x alpha; what all decisions on one version of the holdout may spend together
# holdout_growth = 0.25          # new held-out groups, as a share, that make a new version with a budget of its own
# floor = 0.03                   # 0-1, the least gain on the holdout
# min_groups = 200               # held-out groups before anything is promoted; fewer: INCONCLUSIVE
# holdout_share = 0.2            # 0-1, share of the groups no training ever sees; choose once
# general_margin = 0.03          # 0-1, how much general ability may fall
# slice_margin = 0.08            # 0-1, how much one slice of the holdout may fall
# slice_min_groups = 100         # of a slice; a smaller one need not prove that it did not fall
# must_pass = []                 # slices in which every answer has to be right, such as a safety list
# length_change = 0.3            # of the median answer's length, up or down
# latency_ratio = 1.2            # of the 95th percentile, where answers were timed
"""

SCHEMA = """\
{
  "type": "object",
  "properties": {
    "queue": {"type": "string"},
    "severity": {"type": "integer"},
    "customer": {"type": "string"},
    "asset": {"type": "string"},
    "action": {"type": "string"}
  },
  "required": ["queue", "severity", "customer", "asset", "action"],
  "additionalProperties": false
}
"""


def write_starter(folder: Path, *, force: bool) -> list[Path]:
    """Writes ratchet.toml and its schema; BadConfig when one is there and force is not given."""
    files = {folder / "ratchet.toml": STARTER, folder / "support-triage.schema.json": SCHEMA}
    for path in files:
        if path.exists() and not force:
            raise BadConfig(f"{path} is already there; move it away, or use --force to replace it")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, "utf-8")
    return list(files)
