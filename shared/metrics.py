"""Metrics that every service has. A service's own stand in its `metrics.py`; README's table is compared with all.

Names: `ratchet_<service>_<noun>_<unit>[_total]`, base units, labels with fewer than ten values a deployment.
"""

from prometheus_client import Counter, Gauge

CONSUMER_EVENTS = Counter("ratchet_consumer_events_total", "Events handled, each once", ["consumer", "event"])
CONSUMER_DEAD_LETTERS = Counter(
    "ratchet_consumer_dead_letters_total", "Events that could not be used and went to ratchet.dead", ["consumer"]
)
CONSUMER_LAG = Gauge("ratchet_consumer_lag_events", "Events waiting to be handled", ["consumer"])
