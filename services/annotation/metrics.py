"""Annotation's metrics, all of them."""

from collections.abc import Mapping
from typing import get_args

from prometheus_client import Counter, Gauge

from services.annotation.grouping import Split
from services.annotation.selection import Signal
from shared.workloads import Workload

SAMPLES = Counter("ratchet_annotation_samples_total", "Samples stored, each answer once", ["workload"])
FEEDBACK = Counter("ratchet_annotation_feedback_total", "End users' verdicts stored, each once")
SHOWN = Counter("ratchet_annotation_shown_samples_total", "Samples that went to the desk", ["workload"])
CORRECTIONS = Counter("ratchet_annotation_corrections_total", "Experts' verdicts", ["workload", "verdict"])
EXAMPLES = Counter("ratchet_annotation_examples_total", "Corrections that became examples", ["workload", "split"])
REJECTED = Counter("ratchet_annotation_rejected_total", "Corrections that cannot teach", ["workload", "reason"])
GAPS = Counter("ratchet_annotation_knowledge_gaps_total", "Corrections that retrieval should answer", ["workload"])
GROUPS = Counter("ratchet_annotation_groups_total", "Prompt groups opened", ["workload", "split"])
SIGNALS = Counter(
    "ratchet_annotation_signals_total",
    "Samples by what stands out in them, each once a signal; no schema_invalid where there is no schema",
    ["workload", "signal"],
)
DESK_REACHABLE = Gauge("ratchet_annotation_desk_reachable", "1 when the last round to the desk and back succeeded")
DISPUTED = Gauge("ratchet_annotation_disputed_samples", "Samples that wait for a reviewer", ["workload"])
ALPHA = Gauge("ratchet_annotation_agreement_alpha", "Krippendorff's alpha of the annotators' verdicts", ["workload"])
ANNOTATOR_ALPHA = Gauge(
    "ratchet_annotation_annotator_agreement_alpha",
    "Krippendorff's alpha of one annotator's verdicts with the others'",
    ["workload", "annotator"],
)
GOLD_RIGHT = Gauge(
    "ratchet_annotation_annotator_gold_right_share",
    "Share of gold items that an annotator got right",
    ["workload", "annotator"],
)
UNSHOWABLE = Counter("ratchet_annotation_unshowable_samples_total", "Samples that the desk refused", ["workload"])
DISPUTES = Counter("ratchet_annotation_disputes_total", "Samples about which annotators disagreed", ["workload"])
WAITING = Gauge("ratchet_annotation_waiting_samples", "Samples on the desk", ["workload"])
NOMINATED = Gauge("ratchet_annotation_nominated_samples", "Samples waiting for the desk's budget", ["workload"])


def start_at_zero(workloads: Mapping[str, Workload]) -> None:
    """A series that first appears as 1 shows no increase, so what alerts count is there from the start."""
    for name, workload in workloads.items():
        SAMPLES.labels(name)
        for signal in Signal:
            if signal is not Signal.SCHEMA_INVALID or workload.answer_schema is not None:
                SIGNALS.labels(name, signal)
        for verdict in ("good", "fix", "discard"):
            CORRECTIONS.labels(name, verdict)
        for split in get_args(Split):
            EXAMPLES.labels(name, split)
            GROUPS.labels(name, split)
