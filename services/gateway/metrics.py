"""The gateway's metrics, all of them. `status` is what the client got: the HTTP status; 499 where it left first."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

ANSWERS = Counter("ratchet_gateway_answers_total", "Chat requests by what the client got", ["workload", "status"])
ANSWER_SECONDS = Histogram(
    "ratchet_gateway_answer_seconds", "Request to last byte, of recorded answers", ["workload"], buckets=_SECONDS
)
FIRST_TOKEN_SECONDS = Histogram(
    "ratchet_gateway_first_token_seconds", "Request to first byte relayed, of streams", ["workload"], buckets=_SECONDS
)
FEEDBACK = Counter("ratchet_gateway_feedback_total", "Feedback accepted")
UPSTREAM_ERRORS = Counter(
    "ratchet_gateway_upstream_errors_total", "Model servers that did not answer as they should", ["reason"]
)
IN_FLIGHT = Gauge("ratchet_gateway_in_flight_requests", "Chat requests whose answer is not complete")
SPOOL_RECORDS = Gauge("ratchet_gateway_spool_records", "Records that wait in the spool for the bus")
SPOOL_BYTES = Gauge("ratchet_gateway_spool_bytes", "Bytes that wait in the spool for the bus")
SPOOL_MAX_BYTES = Gauge("ratchet_gateway_spool_max_bytes", "Bytes the spool may hold; beyond, answers are refused")
SPOOL_WRITABLE = Gauge("ratchet_gateway_spool_writable", "1 while answers can be recorded")
SHIPPED = Counter("ratchet_gateway_shipped_total", "Records of the spool that the bus has acknowledged")
PLAN_VERSION = Gauge("ratchet_gateway_plan_version", "The serving plan in use; 0: none was ever seen")
PLAN_ERRORS = Counter("ratchet_gateway_plan_errors_total", "Plans that could not be had or used", ["reason"])
