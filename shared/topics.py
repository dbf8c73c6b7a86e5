"""The topics, all of them. README's table is compared with this one by a test."""

from dataclasses import dataclass

ANSWERS = "ratchet.answers"
FEEDBACK = "ratchet.feedback"
CURATION = "ratchet.curation"
JOBS = "ratchet.jobs"
PROMOTION = "ratchet.promotion"
DEAD = "ratchet.dead"


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    retention_days: int
    carries: str  # one sentence for people
    written_by: str
    read_by: str


TOPICS = (
    Topic(ANSWERS, 6, 14, "every answer, once, with its text", "gateway", "annotation"),
    Topic(FEEDBACK, 6, 14, "end users' verdicts", "gateway", "annotation"),
    Topic(CURATION, 3, 90, "what became of each correction", "annotation", "scheduler"),
    Topic(JOBS, 3, 90, "trainings and evaluations: started, done, failed", "scheduler", "promotion"),
    Topic(PROMOTION, 1, 365, "verdicts, stage changes, plans", "promotion", "scheduler"),
    Topic(DEAD, 1, 90, "what could not be used, with the reason", "every consumer", "cli"),
)
