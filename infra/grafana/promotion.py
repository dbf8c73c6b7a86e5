"""Training and promotion: jobs, verdicts, and what serves where."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from infra.grafana.panels import Query, board, curves, names, number


def dashboard() -> Dashboard:
    return board(
        "promotion",
        "Ratchet: training and promotion",
        "Jobs, verdicts, and what serves where; the lines mark where a version began to serve.",
        names(
            "Serving now",
            Query('ratchet_promotion_champion_info{workload=~"$workload"}', "{{version}}"),
            about="The version that answers, a line a workload.",
            width=8,
        ),
        number(
            "Since the last training",
            'time() - max(ratchet_scheduler_last_training_timestamp_seconds{workload=~"$workload"})',
            about="Since the last training ended, or was asked for while it has not.",
            unit="s",
        ),
        number(
            "Jobs that failed",
            'sum(increase(ratchet_scheduler_jobs_total{state="failed"}[$__range]))',
            about="Trainings and evaluations that failed for good, in the range shown.",
            bound=1,
        ),
        number(
            "Model servers",
            "ratchet_promotion_replicas_reachable / ratchet_promotion_replicas",
            about="Share of the model servers that should serve a plan which answer promotion.",
            unit="percentunit",
            bound=1,
            good="high",
        ),
        number(
            "Plan",
            "ratchet_promotion_plan_version",
            about="Number of the serving plan; the gateway's own should be the same within seconds.",
        ),
        curves(
            "New examples towards the next training",
            "short",
            Query('ratchet_scheduler_new_examples{workload=~"$workload"}', "{{workload}}: new"),
            Query('ratchet_scheduler_needed_examples{workload=~"$workload"}', "{{workload}}: enough"),
            about="A training starts at the line, nightly, by an alert, or by hand.",
        ),
        curves(
            "What asked for trainings",
            "short",
            Query("sum by (trigger) (ratchet_scheduler_triggers_total)", "{{trigger}}"),
            about="Since the scheduler was started.",
        ),
        curves(
            "Alerts that asked",
            "short",
            Query("sum by (outcome) (ratchet_scheduler_alerts_total)", "{{outcome}}"),
            about="Notifications from Alertmanager since the scheduler was started; one that is repeated is ignored.",
        ),
        curves(
            "Jobs",
            "short",
            Query("ratchet_scheduler_running_jobs", "running"),
            Query("ratchet_scheduler_queued_jobs", "waiting"),
            about="Trainings and evaluations.",
        ),
        curves(
            "Jobs that ended",
            "short",
            Query('sum by (kind, state) (ratchet_scheduler_jobs_total{state=~"done|failed"})', "{{kind}} {{state}}"),
            about="Since the scheduler was started.",
        ),
        curves(
            "Seconds a job takes",
            "s",
            Query(
                "sum by (kind) (ratchet_scheduler_job_seconds_sum)"
                " / sum by (kind) (ratchet_scheduler_job_seconds_count)",
                "{{kind}}, mean",
            ),
            Query("ratchet_scheduler_child_silence_seconds", "{{kind}}, silent now"),
            about="From the last start to the end; and how long the one that runs has shown no progress.",
        ),
        curves(
            "Verdicts",
            "short",
            Query('sum by (verdict) (ratchet_promotion_verdicts_total{workload=~"$workload"})', "{{verdict}}"),
            about="Since promotion was started.",
        ),
        curves(
            "Candidates on their way",
            "short",
            Query("sum by (state) (ratchet_promotion_candidates_waiting)", "{{state}}"),
            about="wanted: to be measured. asked: being measured. promoting: being loaded.",
        ),
        curves(
            "Adapters on model servers",
            "short",
            Query("sum by (outcome) (ratchet_promotion_adapter_loads_total)", "{{outcome}}"),
            Query("sum(ratchet_promotion_adapter_unloads_total)", "taken off"),
            Query("sum(ratchet_promotion_reconcile_errors_total)", "replica not as it should be"),
            about="Since promotion was started.",
        ),
        by_workload=True,
    )
