"""The model server's metrics. Rows are answers being generated; a step is one forward pass over all of them."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("ratchet_model_server_requests_total", "Requests answered", ["route", "status"])
TOKENS = Counter("ratchet_model_server_tokens_total", "Tokens read and written", ["kind"])
STEP_SECONDS = Histogram(
    "ratchet_model_server_step_seconds",
    "One forward pass with its sampling",
    ["phase"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
FIRST_TOKEN_SECONDS = Histogram(
    "ratchet_model_server_first_token_seconds",
    "From arrival to the first token",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
BATCH_ROWS = Gauge("ratchet_model_server_batch_rows", "Answers being generated now")
QUEUE_ROWS = Gauge("ratchet_model_server_queue_rows", "Answers waiting for a place in the batch")
ADAPTERS_LOADED = Gauge("ratchet_model_server_adapters_loaded", "Adapters that can be asked for by name")
KV_CACHE_BYTES = Gauge("ratchet_model_server_kv_cache_bytes", "Memory of keys and values held now")
