"""An evaluation's items.jsonl lines, and what they add up to for each version and suite. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.examples import Example
from training.suites import Chosen, consistency, cost
from training.suites.score import Attempt, Score

Row = dict[str, Any]


def scored(scorer: Chosen, item: Example, answer: str) -> tuple[Score, str | None]:
    """A score, and what went wrong in the scorer itself: one hostile answer must not end an evaluation."""
    try:
        return scorer.score(Attempt(item.answer, answer, item.prompt, item.metadata)), None
    except Exception as error:
        return Score(0.0, False), f"the scorer {scorer.name} failed: {type(error).__name__}: {error}"[:500]


def row(version: str, suite: str, scorer: Chosen, item: Example, answer: Any, price: cost.Price | None) -> Row:
    """One line of items.jsonl. An answer with an error, or without an end, scores 0 however it looks."""
    found, failure = scored(scorer, item, answer.answer)
    if answer.error is not None or answer.cut_off:
        fields = found.fields and dict.fromkeys(found.fields, False)
        found = Score(0.0, False, fields, found.schema_valid and False, found.details)
    return {
        "version": version,
        "suite": suite,
        "item": item.id,
        "group": item.group,
        "slice": item.slice,
        "score": found.score,
        "graded": scorer.graded,
        "exact": found.exact,
        "fields": found.fields,
        "schema_valid": found.schema_valid,
        "details": found.details,
        "messages": item.prompt,
        "expected": item.answer,
        "answer": answer.answer,
        "prompt_tokens": answer.prompt_tokens,
        "answer_tokens": answer.tokens,
        "seconds": round(answer.seconds, 4),
        "money": None if price is None else price.of(answer.prompt_tokens, answer.tokens, answer.seconds),
        "samples": None,
        "error": answer.error or failure,
        "cut_off": answer.cut_off,
    }


def summary(rows: Iterable[Row], price: cost.Price | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """version -> suite -> figures; shares 0-1, None where nothing of the kind was measured."""
    grouped: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for line in rows:
        grouped[line["version"]][line["suite"]].append(line)
    return {
        version: {suite: _figures(of, price) for suite, of in suites.items()} for version, suites in grouped.items()
    }


def _figures(rows: list[Row], price: cost.Price | None) -> dict[str, Any]:
    by_field: dict[str, list[bool]] = defaultdict(list)
    by_slice: dict[str, list[bool]] = defaultdict(list)
    for line in rows:
        by_slice[line["slice"]].append(line["exact"])
        for name, right in (line["fields"] or {}).items():
            by_field[name].append(right)
    return {
        "n": len(rows),
        "exact": _mean([line["exact"] for line in rows]),
        "score": _mean([line["score"] for line in rows]),
        "fields": _mean([right for several in by_field.values() for right in several]),
        "schema_valid": _mean([line["schema_valid"] for line in rows if line["schema_valid"] is not None]),
        "errors": sum(line["error"] is not None for line in rows),
        "cut_off": sum(line["cut_off"] for line in rows),
        "per_field": {name: _mean(several) for name, several in by_field.items()},
        "per_slice": {name: _mean(several) for name, several in by_slice.items()},
        "details": _details(rows),
        "consistency": consistency.figures(rows),
        "cost": cost.figures(rows, price),
    }


def _details(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean of every number that the scorer noted beside its score."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for line in rows:
        for name, value in (line.get("details") or {}).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                by_name[name].append(value)
    return {name: _mean(values) for name, values in by_name.items()}


def _mean(values: Sequence[float | bool]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None
