"""Scores versions on suites: `python -m training.evaluate --base B --version NAME=DIR --suite NAME=FILE --out DIR`.

One base is loaded once; versions are adapters switched on it, or `base` for none. Answers are greedy, and may be
half as long again as the suite's longest expected one (`answer_limit`), unless --max-new-tokens says otherwise. Writes
OUT, sealed as kind "evaluation": `items.jsonl`, a line for each version, suite and item, and a manifest with summary,
limits and harness hash.
Twice: a finished OUT of the same plan is kept; another plan in the same place is refused.
Fails: one item that cannot be answered gets an error and score 0, the others go on. An answer that reached its limit
without ending is `cut_off`: it has score 0 too, and is counted in the summary. Ends as `training.exits` says.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.errors import Unusable
from training.cores import share_cores
from training.examples import EXAMPLES, Example, read_suite
from training.exits import exit_status
from training.model import (
    adapter_sha256,
    find_adapter,
    load_adapters,
    load_base,
    load_tokenizer,
    positions_of,
    public_name,
    resolve_file,
)
from training.progress import MetricLines, bar
from training.suites import SCORERS, SchemaCheck
from training.suites.score import Score

BARE = "base"  # the version that has no adapter
LEAST_LIMIT = 64  # tokens; below, a model that is only wordy would look as if it never ended


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    scorer: str
    items: list[Example]
    sha256: str


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    share_cores()
    return exit_status(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> None:
    suites = [_suite(text) for text in _distinct(options.suite, "--suite")]
    versions = dict(_version(text) for text in _distinct(options.version, "--version"))
    schema = _read_schema(options.schema)
    schema_check = _schema_check(schema, options.schema)
    tokenizer = load_tokenizer(options.base)
    limits = _limits(options, suites, tokenizer)
    plan = _plan(options, suites, versions, schema, limits)
    if _is_done(options.out, plan):
        return
    from training.generation import generate

    model = load_base(options.base)
    adapters = {name: folder for name, folder in versions.items() if folder is not None}
    handles = {name: f"v{place}" for place, name in enumerate(adapters)}  # a module's name may hold neither dot nor @
    model = load_adapters(model, {handles[name]: folder for name, folder in adapters.items()})
    facts = dict(plan)
    with artifacts.writing(options.out, "evaluation", facts) as draft:
        metrics_file = options.metrics or Path(os.devnull)
        rows: list[dict[str, Any]] = []
        with (draft / "items.jsonl").open("w") as items, MetricLines(metrics_file) as metrics, bar() as progress:
            for version in versions:
                _switch(model, handles.get(version))
                for suite in suites:
                    task = progress.add_task(f"{version} on {suite.name}", total=len(suite.items))
                    done, found = 0, []
                    for batch in generate(
                        model,
                        tokenizer,
                        [item.prompt for item in suite.items],
                        batch_size=options.batch_size,
                        max_new_tokens=limits[suite.name],
                    ):
                        for answer in batch:
                            item = suite.items[answer.place]
                            found.append((answer.place, _row(version, suite, item, answer, schema_check)))
                        done += len(batch)
                        progress.update(task, completed=done)
                        metrics.write(suite=suite.name, version=version, done=done, total=len(suite.items))
                    ordered = [row for _, row in sorted(found, key=lambda pair: pair[0])]
                    items.writelines(json.dumps(row) + "\n" for row in ordered)
                    rows += ordered
        facts["summary"] = summary(rows)
    for version, by_suite in facts["summary"].items():
        for name, figures in by_suite.items():
            print(
                f"{version} on {name}: exact {figures['exact']:.3f} of {figures['n']}, fields {figures['fields']}, "
                f"cut off {figures['cut_off']}",
                file=sys.stderr,
            )


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """version -> suite -> figures; shares 0-1, None where nothing of the kind was measured."""
    grouped: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        grouped[row["version"]][row["suite"]].append(row)
    return {version: {suite: _figures(of) for suite, of in suites.items()} for version, suites in grouped.items()}


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    by_field: dict[str, list[bool]] = defaultdict(list)
    by_slice: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        by_slice[row["slice"]].append(row["exact"])
        for name, right in (row["fields"] or {}).items():
            by_field[name].append(right)
    valid = [row["schema_valid"] for row in rows if row["schema_valid"] is not None]
    return {
        "n": len(rows),
        "exact": _mean([row["exact"] for row in rows]),
        "score": _mean([row["score"] for row in rows]),
        "fields": _mean([right for several in by_field.values() for right in several]),
        "schema_valid": _mean(valid),
        "errors": sum(row["error"] is not None for row in rows),
        "cut_off": sum(row["cut_off"] for row in rows),
        "per_field": {name: _mean(several) for name, several in by_field.items()},
        "per_slice": {name: _mean(several) for name, several in by_slice.items()},
    }


def _mean(values: Sequence[float | bool]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _row(version: str, suite: Suite, item: Example, answer: Any, schema_check: SchemaCheck | None) -> dict[str, Any]:
    """One line of items.jsonl. An answer with an error, or without an end, scores 0 however it looks."""
    scorer = SCORERS[suite.scorer]
    found = scorer.score(item.answer, answer.answer, schema_check)
    if answer.error is not None or answer.cut_off:
        found = Score(0.0, False, found.fields and dict.fromkeys(found.fields, False), found.schema_valid and False)
    return {
        "version": version,
        "suite": suite.name,
        "item": item.id,
        "group": item.group,
        "slice": item.slice,
        "score": found.score,
        "exact": found.exact,
        "fields": found.fields,
        "schema_valid": found.schema_valid,
        "messages": item.prompt,
        "expected": item.answer,
        "answer": answer.answer,
        "answer_tokens": answer.tokens,
        "seconds": round(answer.seconds, 4),
        "error": answer.error,
        "cut_off": answer.cut_off,
    }


def _switch(model: Any, handle: str | None) -> None:
    if handle is not None:
        model.set_adapter(handle)
        model.base_model.enable_adapter_layers()
    elif hasattr(model, "peft_config"):
        model.base_model.disable_adapter_layers()


def answer_limit(expected_tokens: Iterable[int], positions: int | None) -> int:
    """Tokens an answer may have: room for the longest expected one said in half as many words again."""
    needed = max(LEAST_LIMIT, math.ceil(1.5 * max(expected_tokens)) + 16)
    return min(needed, positions) if positions else needed


def _limits(options: argparse.Namespace, suites: list[Suite], tokenizer: Any) -> dict[str, int]:
    """Suite -> the most tokens of an answer."""
    if options.max_new_tokens is not None:
        return dict.fromkeys((suite.name for suite in suites), options.max_new_tokens)
    positions = positions_of(options.base)
    return {
        suite.name: answer_limit(
            (len(tokenizer.encode(item.answer, add_special_tokens=False)) for item in suite.items), positions
        )
        for suite in suites
    }


def _plan(
    options: argparse.Namespace,
    suites: list[Suite],
    versions: dict[str, Path | None],
    schema: dict[str, Any] | None,
    limits: dict[str, int],
) -> dict[str, Any]:
    settings = {"decoding": "greedy", "max_new_tokens": limits, "schema": schema}
    return {
        "base": public_name(options.base),
        "versions": {
            name: {"adapter_sha256": None if folder is None else adapter_sha256(folder)}
            for name, folder in versions.items()
        },
        "suites": {
            suite.name: {"sha256": suite.sha256, "scorer": suite.scorer, "items": len(suite.items)} for suite in suites
        },
        "settings": settings,
        "harness_sha256": _harness_sha256({suite.scorer for suite in suites}, settings),
    }


def _harness_sha256(scorers: set[str], settings: dict[str, Any]) -> str:
    """Two evaluations compare only when this is equal: scorers' and generation's sources, and the settings."""
    sources = [Path(__file__).with_name("generation.py"), Path(__file__).with_name("data.py")]
    sources += [Path(SCORERS[name].source) for name in sorted(scorers)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _is_done(out: Path, plan: dict[str, Any]) -> bool:
    if not artifacts.is_valid(out, "evaluation"):
        return False
    facts = artifacts.read_manifest(out)
    if any(facts.get(key) != json.loads(json.dumps(value)) for key, value in plan.items()):
        raise Unusable(f"{out} holds an evaluation of another plan; give another --out")
    print(f"{out} is already there, with this plan and whole", file=sys.stderr)
    return True


def _distinct(texts: Sequence[str], flag: str) -> Sequence[str]:
    names = [text.partition("=")[0] for text in texts]
    if len(set(names)) != len(names):
        raise Unusable(f"{flag}: a name is given twice; names must differ")
    return texts


def _version(text: str) -> tuple[str, Path | None]:
    name, equals, place = text.partition("=")
    if not name or not equals or not place:
        raise Unusable(f"--version {text}: give NAME=ADAPTER_DIR, or NAME={BARE} for the bare base")
    return name, None if place == BARE else find_adapter(Path(place))


def _suite(text: str) -> Suite:
    name, equals, rest = text.partition("=")
    path_text, colon, scorer = rest.rpartition(":")
    if not colon or "/" in scorer:
        path_text, scorer = rest, "exact"
    if not name or not equals or not path_text:
        raise Unusable(f"--suite {text}: give NAME=FILE_OR_FOLDER[:scorer]")
    if scorer not in SCORERS:
        raise Unusable(f"--suite {text}: there is no scorer {scorer!r}; known: {', '.join(SCORERS)}")
    path = resolve_file(path_text)
    items = read_suite(path)
    if not items:
        raise Unusable(f"--suite {name}: {path} holds no items")
    for item in items:
        if wrong := SCORERS[scorer].check_expected(item.answer):
            raise Unusable(f"--suite {name}: item {item.id} of {path}: {wrong}; the scorer {scorer} needs one")
    return Suite(name, scorer, items, artifacts.sha256_of(path / EXAMPLES if path.is_dir() else path))


def _read_schema(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        schema = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Unusable(f"--schema {file} cannot be read: {error}") from error
    if not isinstance(schema, dict):
        raise Unusable(f"--schema {file} is not a JSON Schema: an object is needed")
    return schema


def _schema_check(schema: dict[str, Any] | None, file: Path | None) -> SchemaCheck | None:
    if schema is None:
        return None
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
    except ImportError:
        raise Unusable(
            "--schema needs the package jsonschema, which is not installed here; leave --schema out"
        ) from None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Unusable(f"--schema {file} is not a JSON Schema: {error.message}") from error
    check: Callable[[Any], bool] = Draft202012Validator(schema).is_valid
    return check


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Score model versions on suites, greedily."
    )
    parser.add_argument("--base", required=True, help="builtin:tiny, a hub name or a local folder")
    parser.add_argument("--version", action="append", required=True, metavar="NAME=ADAPTER_DIR|base")
    parser.add_argument(
        "--suite",
        action="append",
        required=True,
        metavar="NAME=FILE_OR_SNAPSHOT[:scorer]",
        help=f"scorers: {', '.join(SCORERS)}",
    )
    parser.add_argument("--out", type=Path, required=True, help="the evaluation folder to write")
    parser.add_argument("--schema", type=Path, help="JSON Schema for the answers of json_fields suites")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--max-new-tokens",
        type=_positive,
        help="the most tokens of an answer; without it enough for the longest expected answer of each suite",
    )
    parser.add_argument("--metrics", type=Path, help="where to write progress lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
