"""wrk, one thread: many connections that each ask again when they have their answer, or at a rate that is given.

Fails: BadLoad when one answer was no 200, was not whole, or a connection broke.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LUA = Path(__file__).with_name("load.lua")
TIMEOUT_SECONDS = 30


class BadLoad(Exception):
    """The peer did not answer everything it was asked."""


@dataclass(frozen=True, slots=True)
class Load:
    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a peer, and where."""

    url: str
    body: Path
    headers: Sequence[str]
    stream: bool


def load(question: Question, ids: Path, *, core: int, connections: int, seconds: int, rate: float = 0) -> Load:
    """rate: requests a second of all connections together; 0: as many as go. ids: of each whole 200, a line each."""
    wrk = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    timing = ["--timeout", f"{TIMEOUT_SECONDS}s", "-s", LUA, question.url, "--"]
    kind = "stream" if question.stream else "whole"
    arguments = [question.body, kind, f"{rate:.3f}", ids, *question.headers]
    command = [str(word) for word in (*wrk, *timing, *arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 2 * TIMEOUT_SECONDS, start_new_session=True
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode or line is None:
        raise BadLoad(f"wrk at {question.url} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return _checked(question, json.loads(line.partition(" ")[2]), done.stderr)


def _checked(question: Question, found: dict[str, float], said: str) -> Load:
    bad = {name: found[name] for name in ("not_200", "not_whole", "broken") if found[name]}
    if bad or not found["answered"]:
        raise BadLoad(f"{question.url}: of {found['answered']} answers {bad or 'none came'}. {said}")
    return Load(int(found["answered"]), found["seconds"], found["p50_ms"], found["p99_ms"])
