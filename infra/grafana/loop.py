"""The loop, on one screen: is it turning?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.grafana.panels import Query, board, curves, names, number


def dashboard() -> Dashboard:
    return board(
        "loop",
        "Ratchet: the loop",
        "Answers are looked at, experts correct, trainings follow, what is better is promoted: is it turning?",
        number(
            "Services that answer",
            'sum(up{job=~"gateway|annotation|scheduler|promotion"})',
            about="Of four: gateway, annotation, scheduler, promotion.",
            bound=4,
            good="high",
            width=3,
        ),
        number(
            "Alerts",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            about="Alerts that fire now; each has a page in docs/runbooks.",
            bound=1,
            width=3,
        ),
        number(
            "Answers",
            'sum(increase(ratchet_gateway_answers_total{status="200"}[$__range]))',
            about="Answers given in the range shown.",
            width=3,
        ),
        number(
            "Corrections",
            "sum(increase(ratchet_annotation_corrections_total[$__range]))",
            about="Experts' verdicts in the range shown.",
            width=3,
        ),
        number(
            "Trainings",
            'sum(increase(ratchet_scheduler_jobs_total{kind="train",state="done"}[$__range]))',
            about="Trainings that ended well in the range shown.",
            width=3,
        ),
        number(
            "Promotions",
            'sum(increase(ratchet_promotion_verdicts_total{verdict="PROMOTE"}[$__range]))',
            about="Candidates that the gate found better, in the range shown.",
            width=3,
        ),
        names(
            "Serving now",
            Query("ratchet_promotion_champion_info", "{{version}}"),
            about="The version that answers, a line a workload.",
            width=6,
        ),
        curves(
            "1  Answers are given and looked at",
            "reqps",
            Query('sum(rate(ratchet_gateway_answers_total{status="200"}[$__rate_interval]))', "given"),
            Query("sum(rate(ratchet_annotation_samples_total[$__rate_interval]))", "looked at"),
            about="Both lines should lie on one another; a gap is the bus or annotation.",
        ),
        curves(
            "2  Experts correct",
            "short",
            Query("sum by (workload) (ratchet_annotation_waiting_samples)", "{{workload}}: at the desk"),
            Query("sum by (workload) (ratchet_annotation_nominated_samples)", "{{workload}}: before it"),
            about="Samples on the desk, and those that wait for the day's budget. The desk should empty now and then.",
        ),
        curves(
            "3  New examples towards the next training",
            "short",
            Query("ratchet_scheduler_new_examples", "{{workload}}: new"),
            Query("ratchet_scheduler_needed_examples", "{{workload}}: enough"),
            about="A saw: it climbs to the line and falls when a training takes the examples.",
        ),
        curves(
            "4  Jobs",
            "short",
            Query("ratchet_scheduler_running_jobs", "running"),
            Query("ratchet_scheduler_queued_jobs", "waiting"),
            about="Trainings and evaluations.",
        ),
        curves(
            "5  Verdicts",
            "short",
            Query("sum by (verdict) (ratchet_promotion_verdicts_total)", "{{verdict}}"),
            about="Verdicts since promotion was started.",
        ),
        curves(
            "6  Answers that stand out",
            "percentunit",
            Query(
                "clamp_max(sum by (signal) (rate(ratchet_annotation_signals_total[$__rate_interval]))"
                " / on () group_left() sum(rate(ratchet_annotation_samples_total[$__rate_interval])), 1)",
                "{{signal}}",
            ),
            about="Share of the answers looked at: broken schema, negative feedback, low confidence. "
            "A new version (the line) should lower it.",
        ),
    )
