"""Metrics of the scheduler: a closed list."""

from prometheus_client import Counter, Gauge, Histogram

from services.scheduler.tables import EVALUATE, STATES, TRAIN
from services.scheduler.triggers import Trigger

JOBS = Counter("ratchet_scheduler_jobs_total", "Jobs that came into a state", ["kind", "state"])
JOB_SECONDS = Histogram(
    "ratchet_scheduler_job_seconds",
    "Time from the last start to the end of a job that was done",
    ["kind"],
    buckets=(1, 5, 15, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
RETRIES = Counter("ratchet_scheduler_retries_total", "Attempts that ended badly and are made again", ["kind", "cause"])
LOST_LEASES = Counter("ratchet_scheduler_lost_leases_total", "Jobs this process found in another worker's hands")
RUNNING_JOBS = Gauge("ratchet_scheduler_running_jobs", "Jobs this process runs now")
QUEUED_JOBS = Gauge("ratchet_scheduler_queued_jobs", "Jobs waiting in the table")
NEW_EXAMPLES = Gauge(
    "ratchet_scheduler_new_examples", "Examples since the last training of the workload's preset", ["workload"]
)
NEEDED_EXAMPLES = Gauge(
    "ratchet_scheduler_needed_examples", "New examples that start a training by themselves", ["workload"]
)
LAST_TRAINING = Gauge(
    "ratchet_scheduler_last_training_timestamp_seconds",
    "When the workload's last training ended, or was asked for while it has not",
    ["workload"],
)
CHILD_SILENCE = Gauge(
    "ratchet_scheduler_child_silence_seconds", "How long a running job's program has shown no progress", ["kind"]
)
TRIGGERS = Counter("ratchet_scheduler_triggers_total", "Trainings asked for, by what asked", ["trigger"])
ALERTS = Counter("ratchet_scheduler_alerts_total", "Alerts received", ["outcome"])

# A series that first appears as 1 shows no increase, so these are there from the start.
for _kind in (TRAIN, EVALUATE):
    CHILD_SILENCE.labels(_kind)
    for _state in STATES:
        JOBS.labels(_kind, _state)
for _trigger in Trigger:
    TRIGGERS.labels(_trigger)
for _outcome in ("accepted", "ignored"):
    ALERTS.labels(_outcome)
