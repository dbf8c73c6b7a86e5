"""Annotation's metrics, all of them."""

from prometheus_client import Counter, Gauge

SAMPLES = Counter("ratchet_annotation_samples_total", "Samples stored, each answer once", ["workload"])
FEEDBACK = Counter("ratchet_annotation_feedback_total", "End users' verdicts stored, each once")
SHOWN = Counter("ratchet_annotation_shown_samples_total", "Samples that went to the desk", ["workload"])
CORRECTIONS = Counter("ratchet_annotation_corrections_total", "Experts' verdicts", ["workload", "verdict"])
EXAMPLES = Counter("ratchet_annotation_examples_total", "Corrections that became examples", ["workload", "split"])
REJECTED = Counter("ratchet_annotation_rejected_total", "Corrections that cannot teach", ["workload", "reason"])
GAPS = Counter("ratchet_annotation_knowledge_gaps_total", "Corrections that retrieval should answer", ["workload"])
GROUPS = Counter("ratchet_annotation_groups_total", "Prompt groups opened", ["workload", "split"])
WAITING = Gauge("ratchet_annotation_waiting_samples", "Samples on the desk", ["workload"])
NOMINATED = Gauge("ratchet_annotation_nominated_samples", "Samples waiting for the desk's budget", ["workload"])
