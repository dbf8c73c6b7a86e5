"""How often drift is called where there is none, and how soon where there is. Simulated, seeded.

    python -m benchmarks.drift_alarms [--days 30] [--runs 10]

A quiet month: hourly windows of 2,000 answers against one reference of 10,000, every signal carried, nothing changes.
Then three changes, each from its first hour on, `runs` times: answers half as long again, five points more refusals,
other topics. The signals are drawn one beside the other, the questions from a small grammar; feedback and reviews come
to a third of the answers. Judged by services.drift.comparison, as `ratchet drift` does.
Writes benchmarks/results/drift_alarms.json.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from services.drift.comparison import State, Window, compare, gravest, standings
from services.drift.signals import SIGNALS

RESULTS = Path(__file__).with_name("results") / "drift_alarms.json"
REFERENCE, HOUR, SAID = 10_000, 2_000, 3  # one answer in three is said something about
TOPICS = {
    "billing": ("refund", "invoice", "charge", "payment", "price", "receipt"),
    "access": ("login", "password", "account", "email", "code", "session"),
    "parcel": ("delivery", "courier", "address", "tracking", "return", "package"),
    "device": ("screen", "battery", "cable", "update", "speaker", "warranty"),
}
SENTENCES = (
    "Hello, my {} and my {} do not match, order {}.",
    "Where is the {} for the {}? Number {}",
    "I have waited for the {} because of a {} since day {}, please help",
    "Can you change the {} on ticket {2}? The {1} is wrong.",
)


@dataclass(frozen=True)
class Traffic:
    """What the answers of an hour are drawn from."""

    length: float = 1.0
    refusals: float = 0.03
    topics: tuple[float, ...] = (0.4, 0.3, 0.25, 0.05)


CHANGES = {
    "answers 50 % longer": (Traffic(length=1.5), ("answer_tokens", "answer_characters")),
    "refusals from 3 to 8 %": (Traffic(refusals=0.08), ("refusal",)),
    "other topics": (Traffic(topics=(0.1, 0.2, 0.2, 0.5)), ("prompt_text",)),
}


def drawn(traffic: Traffic, answers: int, random: np.random.Generator) -> Window:
    tokens = np.ceil(traffic.length * random.lognormal(4.5, 0.6, answers))
    asked = np.ceil(random.lognormal(4, 0.5, answers))
    said = answers // SAID
    values: dict[str, Sequence[float | bool | str]] = {
        "prompt_text": questions(traffic, answers, random),
        "prompt_tokens": asked.tolist(),
        "prompt_characters": np.ceil(asked * random.normal(4.2, 0.2, answers)).tolist(),
        "answer_tokens": tokens.tolist(),
        "answer_characters": np.ceil(tokens * random.normal(4.4, 0.2, answers)).tolist(),
        "finish_reason": random.choice(["stop", "length", "tool_calls"], answers, p=[0.94, 0.04, 0.02]).tolist(),
        "schema_valid": (random.random(answers) < 0.97).tolist(),
        "refusal": (random.random(answers) < traffic.refusals).tolist(),
        "repetition": np.maximum(0.0, random.normal(-0.02, 0.04, answers)).tolist(),
        "latency_seconds": random.lognormal(0, 0.5, answers).tolist(),
        "first_token_seconds": random.lognormal(-2, 0.4, answers).tolist(),
        "mean_logprob": (-random.gamma(2, 0.15, answers)).tolist(),
        "feedback": (random.random(answers) < 1 / SAID).tolist(),
        "negative_feedback": (random.random(said) < 0.15).tolist(),
        "correction": (random.random(said) < 0.3).tolist(),
    }
    assert set(values) == set(SIGNALS)
    return Window(values)


def questions(traffic: Traffic, n: int, random: np.random.Generator) -> list[str]:
    words = list(TOPICS.values())
    topics, sentences = random.choice(len(words), n, p=traffic.topics), random.integers(len(SENTENCES), size=n)
    picks, numbers = random.integers(6, size=(n, 2)), random.integers(10**6, size=n)
    return [
        _sentence(int(sentences[i]), words[topics[i]][picks[i, 0]], words[topics[i]][picks[i, 1]], int(numbers[i]))
        for i in range(n)
    ]


def _sentence(which: int, first: str, second: str, number: int) -> str:
    return SENTENCES[which].replace("{1}", second).replace("{2}", str(number)).replace("{}", "%s") % (
        (first,) if which == 3 else (first, second, number)
    )


def quiet(days: int, reference: Window, random: np.random.Generator) -> dict[str, Any]:
    """A month without change: how many signals moved in a window, and how often two in a row made it drift."""
    moved, alarms, unknown, before = 0, 0, 0, []
    started = time.process_time()
    for _ in range(24 * days):
        findings = compare(reference, drawn(Traffic(), HOUR, random))
        moved += sum(finding.moved is True for finding in findings)
        unknown += sum(finding.moved is None for finding in findings)
        alarms += sum(s.state is State.DRIFT for s in standings([*before, findings]))
        before = [findings]
    return {
        "days": days,
        "windows": 24 * days,
        "signals": len(SIGNALS),
        "moved_once": moved,
        "false_alarms": alarms,
        "not_judged": unknown,
        "cpu_seconds_a_window": round((time.process_time() - started) / (24 * days), 3),
    }


def changed(name: str, runs: int, reference: Window, random: np.random.Generator) -> dict[str, Any]:
    """How many of the runs were drift after their second window, by a signal that the change is about."""
    traffic, wanted = CHANGES[name]
    found, others = 0, 0
    for _ in range(runs):
        after = standings([compare(reference, drawn(traffic, HOUR, random)) for _ in range(2)])
        drift = {standing.signal for standing in after if standing.state is State.DRIFT}
        found += bool(drift & set(wanted)) and gravest([s.state for s in after]) is State.DRIFT
        others += len(drift - set(wanted))
    return {"change": name, "runs": runs, "found_in_two_windows": found, "other_signals_called": others}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    random = np.random.default_rng(20_261_120)
    reference = drawn(Traffic(), REFERENCE, random)
    results = {"changes": [changed(name, options.runs, reference, random) for name in CHANGES]}
    results |= {"quiet": quiet(options.days, reference, random)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results)


def show(results: dict[str, Any]) -> None:
    month = results["quiet"]
    table = Table("what happened", "windows", "called")
    quiet_row = f"nothing, for {month['days']} days, {month['signals']} signals"
    table.add_row(quiet_row, str(month["windows"]), f"{month['false_alarms']} false alarms")
    for row in results["changes"]:
        called = f"{row['found_in_two_windows']} of {row['runs']} runs found in two windows"
        table.add_row(row["change"], f"2 x {row['runs']}", called)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
