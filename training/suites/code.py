"""Code that runs: the answer's Python block against the item's tests, in a box of its own (`box`).

The tests stand in the item's metadata (`"tests"`), else in a block marked `tests` in the last user message, so that
they also arrive by the gateway. Each top-level assert and each function test_* is one test; the score is the share
that passed, right means all. The answer's first block without a language or marked python is taken; an answer
without any block is code as a whole. An answer that set out to cheat its tests could: it shares a process with them.
"""

import ast
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import Unusable
from training.examples import Example
from training.suites import box
from training.suites.score import Attempt, Options, SchemaCheck, Score, Scorer

_FENCE = re.compile(r"^```[ \t]*([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_RUNNER = box.RUNNER.read_text("utf-8")
_PYTHON = ("", "python", "python3", "py")


def make(options: Options, schema_check: SchemaCheck | None) -> Scorer:
    limits = box.limits(options)
    if refused := box.refusal(limits):
        raise Unusable(refused)

    def scorer(attempt: Attempt) -> Score:
        tests = tests_of(attempt.metadata, attempt.prompt) or ""
        names, nonce = tests_in(tests), secrets.token_hex(16)
        lines = [json.dumps({"code": block_of(attempt.answer)}), json.dumps({"tests": tests, "nonce": nonce})]
        ran = box.run(_RUNNER, "\n".join(lines) + "\n", limits)
        told = {line.removeprefix(nonce).strip() for line in ran.output.splitlines() if line.startswith(nonce)}
        passed = {name: name in told for name in names}
        details = {"seconds": ran.seconds, "ended": ran.ended, "isolated": limits.isolated}
        return Score(sum(passed.values()) / len(passed), all(passed.values()), passed, details=details)

    return scorer


def check_item(item: Example, options: Options) -> str | None:
    tests = tests_of(item.metadata, item.prompt)
    if tests is None:
        return 'it has no tests; give "metadata": {"tests": "assert ..."} or a block ```tests in the prompt'
    try:
        return None if tests_in(tests) else "its tests hold neither an assert nor a function test_*"
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"its tests are not Python: {error}"


def tests_of(metadata: Mapping[str, Any], prompt: Sequence[Mapping[str, str]]) -> str | None:
    if isinstance(given := metadata.get("tests"), str):
        return given
    asked = [message["content"] for message in prompt if message.get("role") == "user"]
    marked = [body for info, body in _FENCE.findall(asked[-1] if asked else "") if "tests" in info.split()]
    return "\n".join(marked) or None


def tests_in(source: str) -> list[str]:
    """Names, in their order; the runner names them the same way."""
    return [name for node in ast.parse(source).body if (name := _name(node))]


def block_of(answer: str) -> str:
    blocks = _FENCE.findall(answer)
    if not blocks:
        return answer
    return next((body for info, body in blocks if info.strip().lower() in _PYTHON), "raise SystemExit")


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assert):
        return f"line {node.lineno}"
    return node.name if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") else None
