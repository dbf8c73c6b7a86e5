"""The demo's deployment: one workload on the tiny base, everything embedded, on free loopback ports.

Where it differs from a real deployment it says so in its ratchet.toml: a smaller holdout, every answer shown to the
expert, no cooldown. The gate itself is the real one.
"""

import json
import os
from pathlib import Path

from shared.processes import free_ports
from training.tiny.house import ANSWER_SCHEMA, SYSTEM_PROMPT

WORKLOAD = "support-triage"
MIN_GROUPS = 60
TRAIN_EXAMPLES = 200
FIRST_REQUESTS = 230
FRESH_TICKETS = 40
CLIENTS = 8

DEPLOYMENT = f"""\
# The demo's deployment. `ratchet init` writes one for real use.
[models.tiny]
path = "builtin:tiny"
general_suite = "builtin:tiny/general_suite.jsonl"
replay = "builtin:tiny/general_replay.jsonl"

[workloads.{WORKLOAD}]
base = "tiny"
system_prompt = {json.dumps(SYSTEM_PROMPT)}
answer_schema = "{WORKLOAD}.schema.json"
scorer = "json_fields"

[workloads.{WORKLOAD}.selection]
audit_share = 1.0        # demo: every answer is shown to the expert
daily_budget = 2000

[workloads.{WORKLOAD}.trigger]
min_new_examples = MIN_NEW_EXAMPLES
cooldown_minutes = 0     # demo: no waiting between two trainings

[workloads.{WORKLOAD}.gate]
min_groups = {MIN_GROUPS}          # demo: the default is 200; fewer groups see only large gains
holdout_share = 0.3      # demo: the default is 0.2
"""


def write_scenario(folder: Path, *, min_new_examples: int = TRAIN_EXAMPLES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = DEPLOYMENT.replace("MIN_NEW_EXAMPLES", str(min_new_examples))
    (folder / "ratchet.toml").write_text(text, "utf-8")
    (folder / f"{WORKLOAD}.schema.json").write_text(json.dumps(ANSWER_SCHEMA, indent=1), "utf-8")


def environment(folder: Path) -> dict[str, str]:
    """The settings of the demo's services; nothing of the caller's RATCHET_... environment reaches them."""
    names = ("GATEWAY", "MODEL_SERVER", "ANNOTATION", "SCHEDULER", "PROMOTION")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RATCHET_")}
    return {
        **inherited,
        "PYTHONSAFEPATH": "1",
        "RATCHET_CONFIG": str(folder / "ratchet.toml"),
        "RATCHET_DATA_DIR": str(folder),
        "RATCHET_HOST": "127.0.0.1",
        **{f"RATCHET_{name}_PORT": str(port) for name, port in ports.items()},
        "RATCHET_GATEWAY_PLAN_POLL_SECONDS": "0.5",
        "RATCHET_PROMOTION_RECONCILE_SECONDS": "2",
        "RATCHET_SCHEDULER_HEARTBEAT_SECONDS": "1",
    }
