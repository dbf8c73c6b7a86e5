"""The topics, all of them, and how a broker keeps each. README's table and docs/kafka.md's are compared with this one.

No topic is compacted: they carry facts, and compaction keeps only the last fact of a key (docs/decisions).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ANSWERS = "ratchet.answers"
FEEDBACK = "ratchet.feedback"
CURATION = "ratchet.curation"
JOBS = "ratchet.jobs"
PROMOTION = "ratchet.promotion"
DEAD = "ratchet.dead"

MAX_RECORD_BYTES = 4 * 2**20  # key and value together
ROOM_BYTES = 64 * 1024  # what headers and the wire format add to a record, generously
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    retention_days: int
    cleanup: Literal["delete", "compact"]
    carries: str  # one sentence for people
    written_by: str
    read_by: str


TOPICS = (
    Topic(ANSWERS, 6, 14, "delete", "every answer, once, with its text", "gateway", "annotation"),
    Topic(FEEDBACK, 6, 14, "delete", "end users' verdicts", "gateway", "annotation"),
    Topic(CURATION, 3, 90, "delete", "what became of each correction", "annotation", "scheduler"),
    Topic(JOBS, 3, 90, "delete", "trainings and evaluations: started, done, failed", "scheduler", "promotion"),
    Topic(PROMOTION, 1, 365, "delete", "verdicts, stage changes, plans", "promotion", "scheduler"),
    Topic(DEAD, 1, 90, "delete", "what could not be used, with the reason", "every consumer", "cli"),
)


def broker_settings(topic: Topic) -> dict[str, str]:
    """What a Kafka topic is made with: everything that decides whether a record may vanish or be refused."""
    return {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_days * DAY_MS),
        "retention.bytes": "-1",  # a broker's own default may be smaller than two weeks of answers
        "segment.ms": str(DAY_MS),  # only closed segments are deleted; else text would stay a week longer than said
        "max.message.bytes": str(MAX_RECORD_BYTES + ROOM_BYTES),
        # With the writers' clocks, one that is wrong makes records that are deleted at once, or refused for ever.
        "message.timestamp.type": "LogAppendTime",
    }


_CONSEQUENCES = {
    "cleanup.policy": "compaction forgets all but the last fact of a key",
    "retention.ms": "records go earlier or later than this deployment says",
    "retention.bytes": "a full topic forgets records that nobody has read",
    "segment.ms": "records may stay that much longer than their retention",
    "max.message.bytes": "larger records go to the dead letters",
    "message.timestamp.type": "a writer's wrong clock decides when records are deleted",
}


def differences(topic: Topic, name: str, partitions: int, settings: Mapping[str, str]) -> list[str]:
    """How a topic of this name on the broker differs from the table, a sentence each; more partitions are fine."""
    found = []
    if partitions < topic.partitions:
        found.append(
            f"topic {name} has {partitions} partitions, not {topic.partitions}: fewer consumers can share it; left as "
            f"it is. To change it: kafka-topics --alter --topic {name} --partitions {topic.partitions}"
        )
    for setting, wanted in broker_settings(topic).items():
        is_now = settings.get(setting, wanted)
        if is_now != wanted:
            found.append(
                f"topic {name} has {setting}={is_now}, not {wanted}: {_CONSEQUENCES[setting]}; left as it is. To "
                f"change it: kafka-configs --alter --entity-type topics --entity-name {name} "
                f"--add-config {setting}={wanted}"
            )
    return found
