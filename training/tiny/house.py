"""Support tickets with the true answer by house rules: what the demo's expert knows and the tiny base does not.

The texts are ordinary tickets of the tiny world. The house format is new to the base: five fields in one order, three
of them house values that no instruction spells out. Pure: the same seed gives the same ticket for ever.

The rules: the device's word decides the queue; the words of urgency decide the severity (1 is worst); the severity
decides the action.
"""

import json
from dataclasses import dataclass
from random import Random

from training.tiny.domains import TICKET
from training.tiny.world import compose

SYSTEM_PROMPT = "You triage support tickets for the service desk."
FIELDS = ("queue", "severity", "customer", "asset", "action")
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "queue": {"type": "string", "enum": ["network", "workplace", "datacenter", "security", "power"]},
        "severity": {"type": "integer", "minimum": 1, "maximum": 4},
        "customer": {"type": "string", "minLength": 1},
        "asset": {"type": "string", "pattern": "^[a-z]+-[0-9]{3}$"},
        "action": {"type": "string", "enum": ["call", "dispatch", "visit", "backlog"]},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}

_DEVICES_OF_QUEUE = {
    "network": ("router", "firewall"),
    "workplace": ("laptop", "printer"),
    "datacenter": ("server", "storage"),
    "security": ("badge", "camera"),
    "power": ("charger", "battery"),
}
_URGENCIES_OF_SEVERITY = {
    1: ("an outage for all", "an emergency"),
    2: ("very urgent", "blocking my team"),
    3: ("needed this week", "medium priority"),
    4: ("low priority", "whenever you can"),
}
QUEUE_OF_DEVICE = {device: queue for queue, devices in _DEVICES_OF_QUEUE.items() for device in devices}
SEVERITY_OF_URGENCY = {words: severity for severity, several in _URGENCIES_OF_SEVERITY.items() for words in several}
ACTION_OF_SEVERITY = {1: "call", 2: "dispatch", 3: "visit", 4: "backlog"}


@dataclass(frozen=True, slots=True)
class Ticket:
    text: str
    fields: dict[str, str | int]
    answer: str  # the exact JSON text an expert would write


def ticket(seed: int) -> Ticket:
    rng = Random(f"house-{seed}")
    names = {"customer", "asset", "urgency", *rng.sample(("issue", "site", "ticket"), rng.choice((1, 1, 2)))}
    said = {name: field.draw(rng) for name, field in TICKET.fields.items() if name in names}
    said["asset"] = f"{rng.choice(list(QUEUE_OF_DEVICE))}-{rng.randint(100, 999)}"
    said["urgency"] = rng.choice(list(SEVERITY_OF_URGENCY))
    fields = answer_fields(said["customer"], said["asset"], said["urgency"])
    return Ticket(compose(rng, TICKET, said, joined_share=0.3), fields, json.dumps(fields))


def answer_fields(customer: str, asset: str, urgency: str) -> dict[str, str | int]:
    queue = QUEUE_OF_DEVICE[asset.split("-")[0]]
    severity = SEVERITY_OF_URGENCY[urgency]
    values = (queue, severity, customer, asset, ACTION_OF_SEVERITY[severity])
    return dict(zip(FIELDS, values, strict=True))
