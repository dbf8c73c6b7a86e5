"""The gateway's benchmark where it decides something: ratios, the table, what counts as arrived and as answered."""

import json
import subprocess
import sys
import time

import pytest

from benchmarks.gateway import report, traffic
from benchmarks.gateway.broker import Arrivals, NotArrived
from benchmarks.gateway.family import Family
from benchmarks.gateway.rounds import Figures

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    ours = Figures(cpu_us=[50.0, 200.0, 60.0], event_cpu_us=[10.0], paced_p99_ms=[2.0])
    theirs = Figures(cpu_us=[100.0, 400.0, 80.0], event_cpu_us=[20.0], paced_p99_ms=[4.0])
    found = report.ratios({"ratchet": ours, "tensorzero": theirs})
    assert found == {"cpu_vs_tensorzero": 0.5, "sse_vs_tensorzero": 0.5, "p99_vs_tensorzero": 0.5}


def test_a_goal_is_missed_just_above_it() -> None:
    gateway = {"cpu_us": [60.0], "requests_per_second": [9.0], "p50_ms": [1.0], "p99_ms": [2.0], "peak_mb": 80.0}
    found = {
        "machine": report.machine(),
        "versions": {"ratchet": "0.1.0"},
        "run": {"rounds": 1, "seconds": 1, "connections": 32, "paced_requests_per_second": 9},
        "kafka": {"answers": 9, "records": 10, "duplicates": 1},
        "ratios": {"cpu_vs_tensorzero": 0.8, "cpu_vs_nginx": 6.01},
        "gateways": {"ratchet": {**gateway, "shipper_us": [30.0]}},
    }
    goals = [line.split(" | ")[2:] for line in report.table(found).splitlines() if "CPU a request, of" in line]
    assert goals == [["0.8", "met |"], ["6.01", "missed |"]]
    assert "| CPU of the shipper, us a record | <= 30 | 30.0 | met |" in report.table(found)


def test_the_time_of_children_counts_also_after_they_ended() -> None:
    child = BUSY.format(seconds=0.2)
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 200
        while sum(Family(process.pid).cpu_seconds().values()) < 0.2 or len(Family(process.pid).members()) > 1:
            assert time.monotonic() < deadline, "the child's time never came to its parent"
            time.sleep(0.01)
        process.communicate()


class Nothing:
    """A topic that stays empty."""

    def consume(self, _records: int, timeout: float) -> list[object]:
        return []


def test_an_answer_that_is_not_in_kafka_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gateway.broker.ARRIVAL_SECONDS", 0.05)
    arrivals = Arrivals("127.0.0.1:1")
    monkeypatch.setattr(arrivals, "_consumer", Nothing())
    arrivals.ids.add(b"came")
    assert arrivals.wait_for([b"came"]) == 1
    with pytest.raises(NotArrived, match="1 of 2 answers never came to Kafka"):
        arrivals.wait_for([b"came", b"lost"])


def test_two_answers_with_one_id_fail_the_run() -> None:
    with pytest.raises(NotArrived, match="same id"):
        Arrivals("127.0.0.1:1").wait_for([b"one", b"one"])


def test_a_stream_has_64_events_and_its_end() -> None:
    events = traffic.events()
    assert len(events) == traffic.EVENTS + 1
    assert all(json.loads(event[6:])["choices"] for event in events[:-1])
    assert events[-1] == "data: [DONE]\n\n"
