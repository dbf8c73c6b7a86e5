"""The gateway's benchmark in its short form: ours beside nginx, every answer of ours found in the real Kafka."""

import json
import subprocess
import sys


def test_the_short_form_finds_every_answer_in_kafka() -> None:
    command = [sys.executable, "-m", "benchmarks.gateway", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kafka"]["answers"] > 0
    assert found["kafka"]["records"] >= found["kafka"]["answers"]
    assert found["kafka"]["missing"] == 0
    assert set(found["gateways"]) == {"ratchet", "nginx"}
    for figures in found["gateways"].values():
        assert figures["cpu_us"][0] > 0
        assert figures["event_cpu_us"][0] > 0
        assert figures["peak_mb"] > 0
    assert found["ratios"]["cpu_vs_nginx"] > 0
