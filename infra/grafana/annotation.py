"""Annotation: from answers to examples, and what experts have before them."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.grafana.panels import Query, board, curves, number

_CHOSEN = '{workload=~"$workload"}'


def dashboard() -> Dashboard:
    return board(
        "annotation",
        "Ratchet: annotation",
        "From answers to examples, and what experts have before them.",
        number(
            "Desk can be reached",
            "min(ratchet_annotation_desk_reachable)",
            about="1 when the last round to the desk and back succeeded.",
            bound=1,
            good="high",
        ),
        number(
            "At the desk",
            f"sum(ratchet_annotation_waiting_samples{_CHOSEN})",
            about="Samples experts have before them now.",
        ),
        number(
            "Samples",
            f"sum(increase(ratchet_annotation_samples_total{_CHOSEN}[$__range]))",
            about="Answers stored in the range shown.",
        ),
        number(
            "Examples",
            f"sum(increase(ratchet_annotation_examples_total{_CHOSEN}[$__range]))",
            about="Corrections that became examples in the range shown, to train on or held out.",
        ),
        number(
            "Cannot teach",
            f"sum(increase(ratchet_annotation_rejected_total{_CHOSEN}[$__range])) or vector(0)",
            about="Corrections that curation refused in the range shown.",
        ),
        number(
            "Dead letters",
            'sum(increase(ratchet_consumer_dead_letters_total{consumer="annotation"}[$__range]))',
            about="Events that annotation could not use, in the range shown.",
            bound=1,
        ),
        curves(
            "From answer to example",
            "short",
            Query(f"sum(ratchet_annotation_samples_total{_CHOSEN})", "stored"),
            Query(f"sum(ratchet_annotation_shown_samples_total{_CHOSEN})", "shown to experts"),
            Query(f"sum(ratchet_annotation_corrections_total{_CHOSEN})", "corrected"),
            Query(f"sum(ratchet_annotation_examples_total{_CHOSEN})", "examples"),
            about="Since annotation was started; what lies between two lines was left out, refused, or waits.",
            width=12,
        ),
        curves(
            "Verdicts of the experts",
            "short",
            Query(
                f"sum by (verdict) (rate(ratchet_annotation_corrections_total{_CHOSEN}[$__rate_interval])) * 60",
                "{{verdict}} per minute",
            ),
            about="good: the answer may stand. fix: the expert wrote a better one. discard: it teaches nothing.",
            width=12,
            stacked=True,
        ),
        curves(
            "The desk",
            "short",
            Query(f"sum by (workload) (ratchet_annotation_waiting_samples{_CHOSEN})", "{{workload}}: at the desk"),
            Query(f"sum by (workload) (ratchet_annotation_nominated_samples{_CHOSEN})", "{{workload}}: before it"),
            about="Samples on the desk, and those that wait for the day's budget.",
        ),
        curves(
            "What stands out",
            "short",
            Query(
                f"sum by (signal) (rate(ratchet_annotation_signals_total{_CHOSEN}[$__rate_interval])) * 60",
                "{{signal}} per minute",
            ),
            about="Why samples are worth an expert's minute.",
        ),
        curves(
            "Examples by side",
            "short",
            Query(f"sum by (split) (ratchet_annotation_examples_total{_CHOSEN})", "{{split}}"),
            about="Since annotation was started. The prompt alone decides the side.",
        ),
        curves(
            "Prompt groups",
            "short",
            Query(f"sum by (split) (ratchet_annotation_groups_total{_CHOSEN})", "{{split}}"),
            about="Opened since annotation was started; the gate needs enough held-out groups.",
        ),
        curves(
            "Events that wait",
            "short",
            Query('ratchet_consumer_lag_events{consumer="annotation"}', "for annotation"),
            about="Events on the bus that annotation has not handled. Near 0, or falling.",
        ),
        curves(
            "Feedback",
            "short",
            Query("rate(ratchet_annotation_feedback_total[$__rate_interval]) * 60", "per minute"),
            about="End users' verdicts stored.",
        ),
        by_workload=True,
    )
