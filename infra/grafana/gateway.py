"""The gateway: what applications get, how fast, and whether it is recorded; and the embedded model server behind it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.grafana.panels import Query, board, curves, number

_SECONDS = "ratchet_gateway_answer_seconds_bucket"
_FIRST = "ratchet_gateway_first_token_seconds_bucket"


def dashboard() -> Dashboard:
    return board(
        "gateway",
        "Ratchet: gateway",
        "What applications get, how fast, and whether it is recorded.",
        number(
            "Can record answers",
            "min(ratchet_gateway_spool_writable)",
            about="1 while answers can be recorded; at 0 every request gets 503.",
            bound=1,
            good="high",
        ),
        number(
            "Spool in use",
            "max(ratchet_gateway_spool_bytes / ratchet_gateway_spool_max_bytes)",
            about="At 90 % requests are refused.",
            unit="percentunit",
            bound=0.6,
        ),
        number(
            "Requests that failed",
            'sum(increase(ratchet_gateway_answers_total{status=~"5.."}[$__range])) or vector(0)',
            about="Answered with 5xx in the range shown.",
            bound=1,
        ),
        number(
            "Model server errors",
            "sum(increase(ratchet_gateway_upstream_errors_total[$__range])) or vector(0)",
            about="Model servers that did not answer as they should, in the range shown.",
            bound=1,
        ),
        number(
            "Plan errors",
            "sum(increase(ratchet_gateway_plan_errors_total[$__range])) or vector(0)",
            about="Serving plans that could not be had or used, in the range shown.",
            bound=1,
        ),
        number(
            "Plan in use",
            "min(ratchet_gateway_plan_version)",
            about="The serving plan's number; promotion's own stands in Training and promotion.",
        ),
        curves(
            "Answers by status",
            "reqps",
            Query(
                'sum by (status) (rate(ratchet_gateway_answers_total{workload=~"$workload"}[$__rate_interval]))',
                "{{status}}",
            ),
            about="What clients got; 499: they left first.",
            stacked=True,
        ),
        curves(
            "Seconds to the last byte",
            "s",
            *_quantiles(_SECONDS),
            about="Of recorded answers, generation included.",
        ),
        curves(
            "Seconds to the first token",
            "s",
            *_quantiles(_FIRST),
            about="Of streams.",
        ),
        curves(
            "In flight",
            "short",
            Query("sum(ratchet_gateway_in_flight_requests)", "requests"),
            about="Requests whose answer is not complete.",
        ),
        curves(
            "Spool",
            "short",
            Query("sum(ratchet_gateway_spool_records)", "records that wait for the bus"),
            about="Near 0 while the bus takes records; a slope is a bus that does not.",
        ),
        curves(
            "Recorded and shipped",
            "reqps",
            Query("sum(rate(ratchet_gateway_shipped_total[$__rate_interval]))", "shipped to the bus"),
            Query("sum(rate(ratchet_gateway_feedback_total[$__rate_interval]))", "feedback taken"),
            about="Answers and feedback are records.",
        ),
        curves(
            "Embedded model server: tokens",
            "short",
            Query("sum by (kind) (rate(ratchet_model_server_tokens_total[$__rate_interval]))", "{{kind}} per second"),
            about="Tokens read and written; vLLM has metrics of its own.",
        ),
        curves(
            "Embedded model server: batch",
            "short",
            Query("sum(ratchet_model_server_batch_rows)", "being generated"),
            Query("sum(ratchet_model_server_queue_rows)", "waiting"),
            about="Answers being generated together, and those that wait for a place.",
        ),
        curves(
            "Embedded model server: one step",
            "s",
            Query(
                "histogram_quantile(0.95,"
                " sum by (le, phase) (rate(ratchet_model_server_step_seconds_bucket[$__rate_interval])))",
                "{{phase}}, 95 %",
            ),
            about="One forward pass with its sampling.",
        ),
        by_workload=True,
    )


def _quantiles(buckets: str) -> list[Query]:
    rates = f'sum by (le) (rate({buckets}{{workload=~"$workload"}}[$__rate_interval]))'
    return [Query(f"histogram_quantile({share}, {rates})", f"{share:.0%} are faster") for share in (0.5, 0.95)]
