"""The results: ratios, goals, and the table of docs/performance.md, all from the figures of one run."""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway.broker import Arrivals
from benchmarks.gateway.rounds import CONNECTIONS, EVENTS, OWN, Figures, Plan, Rounds

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "gateway.json"
PAGE = ROOT / "docs" / "performance.md"
_TABLE = re.compile(r"(?<=<!-- gateway -->\n).*?(?=<!-- /gateway -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Goal:
    figure: str
    peer: str
    at_most: float
    words: str


GOALS = {
    "cpu_vs_tensorzero": Goal("cpu_us", "tensorzero", 0.8, "CPU a request, of TensorZero's"),
    "cpu_vs_nginx": Goal("cpu_us", "nginx", 6.0, "CPU a request, of nginx'"),
    "cpu_vs_portkey": Goal("cpu_us", "portkey", 1 / 6, "CPU a request, of Portkey's"),
    "cpu_vs_litellm": Goal("cpu_us", "litellm", 1 / 50, "CPU a request, of LiteLLM's"),
    "sse_vs_tensorzero": Goal("event_cpu_us", "tensorzero", 1.0, "CPU an event of a stream, of TensorZero's"),
    "p99_vs_tensorzero": Goal("paced_p99_ms", "tensorzero", 1.0, "p99 at the same rate, of TensorZero's"),
}
SHIPPER_US = 30.0


def results(rounds: Rounds, arrivals: Arrivals, plan: Plan, versions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "machine": machine(),
        "versions": dict(versions),
        "run": {
            **asdict(plan),
            "connections": CONNECTIONS,
            "events_of_a_stream": EVENTS,
            "paced_requests_per_second": round(rounds.rate),
        },
        "kafka": {
            "answers": arrivals.asked_for,
            "missing": 0,  # else there would be no results
            "records": arrivals.records,
            "duplicates": arrivals.duplicates,
        },
        "ratios": ratios(rounds.figures),
        "gateways": {name: _rounded(figures) for name, figures in rounds.figures.items()},
    }


def machine() -> dict[str, Any]:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 1),
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def ratios(figures: Mapping[str, Figures]) -> dict[str, float]:
    """Ours by theirs, round by round, and of those the median."""
    found = {}
    for name, goal in GOALS.items():
        if goal.peer in figures:
            pairs = zip(getattr(figures[OWN], goal.figure), getattr(figures[goal.peer], goal.figure), strict=True)
            found[name] = round(statistics.median(ours / theirs for ours, theirs in pairs), 4)
    return found


def table(found: Mapping[str, Any]) -> str:
    """What stands in docs/performance.md."""
    rows = [_row(name, values, found["versions"][name]) for name, values in found["gateways"].items()]
    head = ("gateway", "CPU us a request", "requests/s", "p50, p99 ms", "p99 ms, paced", "CPU us an event", "peak MB")
    goals = [_goal(name, goal, found) for name, goal in GOALS.items() if name in found["ratios"]]
    shipper = statistics.median(found["gateways"][OWN]["shipper_us"])
    goals.append(("CPU of the shipper, us a record", "<= 30", f"{shipper:.1f}", _met(shipper <= SHIPPER_US)))
    return "\n".join((_markdown(head, rows), "", _markdown(("ratio", "goal", "measured", ""), goals), "", _how(found)))


def write(found: Mapping[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    write_table()


def write_table() -> None:
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")


def with_table(page: str) -> str:
    """The page with the table of the kept results in its place."""
    text = table(json.loads(RESULTS.read_text("utf-8")))
    return _TABLE.sub(lambda _: text + "\n", page)


def _rounded(figures: Figures) -> dict[str, Any]:
    return {
        name: [round(each, 3) for each in value] if isinstance(value, list) else round(value, 1)
        for name, value in asdict(figures).items()
        if value
    }


def _row(name: str, values: Mapping[str, Any], version: str) -> tuple[str, ...]:
    def median(figure: str, digits: int = 1) -> str:
        return f"{statistics.median(values[figure]):,.{digits}f}" if figure in values else "-"

    return (
        f"{name} {version}",
        median("cpu_us"),
        median("requests_per_second", 0),
        f"{median('p50_ms')}, {median('p99_ms')}",
        median("paced_p99_ms", 2),
        median("event_cpu_us"),
        f"{values['peak_mb']:,.0f}",
    )


def _goal(name: str, goal: Goal, found: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = found["ratios"][name]
    return goal.words, f"<= {goal.at_most:.3g}", f"{ratio:.3g}", _met(ratio <= goal.at_most)


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def _how(found: Mapping[str, Any]) -> str:
    run, kafka, where = found["run"], found["kafka"], found["machine"]
    return (
        f"Medians of {run['rounds']} rounds of {run['seconds']:g} s, {run['connections']} connections, paced at "
        f"{run['paced_requests_per_second']:,} requests a second. All {kafka['answers']:,} answers that wrk got "
        f"from ours were found in Kafka, among {kafka['records']:,} records; {kafka['duplicates']:,} came twice. "
        f"{where['cpus']} CPUs ({where['cpu']}), {where['system']}, Python {where['python']}, load "
        f"{where['load_1_min']} at the end, {where['at']}."
    )


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
