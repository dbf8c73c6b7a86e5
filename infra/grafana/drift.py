"""Drift: whether answers stand out more than they used to. What the alert Drift looks at, and nothing else."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.grafana.panels import Query, board, curves, number

_CHOSEN = '{workload=~"$workload"}'
_SHARE = "workload_signal:ratchet_annotation_signals"
_SAMPLES = "workload:ratchet_annotation_samples"


def dashboard() -> Dashboard:
    return board(
        "drift",
        "Ratchet: drift",
        "The share of answers that stand out in the last hour against the week before it. Prompts are not looked at.",
        number(
            "Drift alerts",
            'count(ALERTS{alertname="Drift",alertstate="firing",workload=~"$workload"}) or vector(0)',
            about="Workloads and signals for which Drift fires now.",
            bound=1,
            width=6,
        ),
        number(
            "Answers nobody looks at",
            'count(ALERTS{alertname="DriftBlind",alertstate="firing",workload=~"$workload"}) or vector(0)',
            about="Workloads whose drift would go unseen now.",
            bound=1,
            width=6,
        ),
        number(
            "Largest rise",
            f"max({_SHARE}:share1h{_CHOSEN} - {_SHARE}:share7d)",
            about="Of any signal, in points of share; the alert asks for more than 10 and four standard errors.",
            unit="percentunit",
            bound=0.1,
            width=6,
        ),
        number(
            "Trainings by alert",
            'increase(ratchet_scheduler_triggers_total{trigger="alert"}[$__range])',
            about="Trainings that a drift alert started in the range shown.",
            width=6,
        ),
        curves(
            "Share in the last hour, and in the week before",
            "percentunit",
            Query(f"{_SHARE}:share1h{_CHOSEN}", "{{workload}} {{signal}}: hour"),
            Query(f"{_SHARE}:share7d{_CHOSEN}", "{{workload}} {{signal}}: week"),
            about="Of the answers looked at. They part when answers change.",
            width=24,
            height=9,
        ),
        curves(
            "Standard errors between the two",
            "short",
            Query(f"{_SHARE}:standard_errors{_CHOSEN}", "{{workload}} {{signal}}"),
            about="The alert asks for more than 4; fewer may be chance.",
            width=12,
        ),
        curves(
            "Answers the shares rest on",
            "short",
            Query(f"{_SAMPLES}:increase1h{_CHOSEN}", "{{workload}}: hour"),
            Query(f"{_SAMPLES}:increase7d{_CHOSEN}", "{{workload}}: week"),
            about="The alert asks for 50 in the hour and 100 before it.",
            width=12,
        ),
        by_workload=True,
    )
