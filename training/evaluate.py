"""Scores versions on suites: `python -m training.evaluate --base B --version NAME=DIR --suite NAME=FILE --out DIR`.

One base is loaded once; versions are adapters switched on it, or `base` for none. Answers are greedy, and may be
half as long again as the suite's longest expected one (`answer_limit`), unless --max-new-tokens says otherwise. With
--samples NAME=K a suite's items are answered K times more at --temperature, to see how steady a version is. Writes
OUT, sealed as kind "evaluation": `items.jsonl`, a line for each version, suite and item, and a manifest with summary,
limits and harness hash.
Twice: a finished OUT of the same plan is kept; another plan in the same place is refused.
Fails: one item that cannot be answered or scored gets an error and score 0, the others go on. An answer that reached
its limit without ending is `cut_off`: it has score 0 too, and is counted in the summary. Ends as `training.exits` says.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import artifacts
from shared.errors import Unusable
from training.cores import share_cores
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
from training.suites import SCORERS, consistency, cost, figures
from training.suites.score import SchemaCheck, Score
from training.suites.suite import Suite, distinct, read_object, read_suites

BARE = "base"  # the version that has no adapter
MOST_DRAWN = 50  # answers of one item
LEAST_LIMIT = 64  # tokens; below, a model that is only wordy would look as if it never ended


@dataclass(frozen=True, slots=True)
class Draws:
    """How many more answers an item gets, and how."""

    by_suite: dict[str, int]
    temperature: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    share_cores()
    return exit_status(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> None:
    schema = _read_schema(options.schema)
    schema_check = _schema_check(schema, options.schema)
    suites = read_suites(options.suite, options.scorer_options, schema_check, resolve_file)
    versions = dict(_version(text) for text in distinct(options.version, "--version"))
    draws = _draws(options, suites)
    price = cost.read_price(read_object(options.price, "--price")) if options.price else None
    tokenizer = load_tokenizer(options.base)
    limits = _limits(options, suites, tokenizer)
    plan = _plan(options, suites, versions, schema, limits, draws)
    if _is_done(options.out, plan):
        return
    model = load_base(options.base)
    adapters = {name: folder for name, folder in versions.items() if folder is not None}
    handles = {name: f"v{place}" for place, name in enumerate(adapters)}  # a module's name may hold neither dot nor @
    model = load_adapters(model, {handles[name]: folder for name, folder in adapters.items()})
    facts = dict(plan)
    with artifacts.writing(options.out, "evaluation", facts) as draft:
        rows: list[figures.Row] = []
        with (
            (draft / "items.jsonl").open("w") as items,
            MetricLines(options.metrics or Path(os.devnull)) as metrics,
            bar() as progress,
        ):
            for version in versions:
                _switch(model, handles.get(version))
                for suite in suites:
                    answering = _Answering(model, tokenizer, options.batch_size, limits[suite.name], metrics, progress)
                    found = answering.rows(version, suite, draws, price)
                    items.writelines(json.dumps(row) + "\n" for row in found)
                    rows += found
        facts["summary"] = figures.summary(rows, price)
        facts["price"] = options.price and read_object(options.price, "--price")
    for version, by_suite in facts["summary"].items():
        for name, of in by_suite.items():
            print(
                f"{version} on {name}: exact {of['exact']:.3f} of {of['n']}, score {of['score']}, "
                f"fields {of['fields']}, cut off {of['cut_off']}",
                file=sys.stderr,
            )


@dataclass(frozen=True, slots=True)
class _Answering:
    """One version at one suite."""

    model: Any
    tokenizer: Any
    batch_size: int
    limit: int  # tokens of an answer
    metrics: MetricLines
    progress: Any

    def rows(self, version: str, suite: Suite, draws: Draws, price: cost.Price | None) -> list[figures.Row]:
        """In the order of the suite's items."""
        count = draws.by_suite.get(suite.name, 0)
        total = len(suite.items) * (1 + count)
        task = self.progress.add_task(f"{version} on {suite.name}", total=total)
        done = 0

        def tell(batch: int) -> None:
            nonlocal done
            done += batch
            self.progress.update(task, completed=done)
            self.metrics.write(suite=suite.name, version=version, done=done, total=total)

        found = [
            figures.row(version, suite.name, suite.scorer, suite.items[place], answer, price)
            for place, answer in enumerate(self._answers(suite, tell))
        ]
        drawn = [self._answers(suite, tell, temperature=draws.temperature, seed=seed) for seed in range(count)]
        for place, several in enumerate(zip(*drawn, strict=True)):
            found[place]["samples"] = consistency.samples(
                suite.scorer.name,
                draws.temperature,
                [answer.answer for answer in several],
                [_drawn_score(suite, place, answer) for answer in several],
            )
        return found

    def _answers(self, suite: Suite, tell: Callable[[int], None], **sampling: Any) -> list[Any]:
        from training.generation import generate  # torch: not before the arguments are known to be right

        batches: Iterator[list[Any]] = generate(
            self.model,
            self.tokenizer,
            [item.prompt for item in suite.items],
            batch_size=self.batch_size,
            max_new_tokens=self.limit,
            **sampling,
        )
        found = []
        for batch in batches:
            found += batch
            tell(len(batch))
        return sorted(found, key=lambda answer: answer.place)


def _drawn_score(suite: Suite, place: int, answer: Any) -> Score:
    found, failure = figures.scored(suite.scorer, suite.items[place], answer.answer)
    return Score(0.0, False) if answer.error or answer.cut_off or failure else found


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


def _draws(options: argparse.Namespace, suites: list[Suite]) -> Draws:
    counts = {}
    for text in distinct(options.samples, "--samples"):
        name, _, count = text.partition("=")
        if name not in {suite.name for suite in suites} or not count.isdecimal() or not 2 <= int(count) <= MOST_DRAWN:
            raise Unusable(f"--samples {text}: give SUITE=K with the name of a --suite and K from 2 to {MOST_DRAWN}")
        counts[name] = int(count)
    if not 0 < options.temperature <= 2:
        raise Unusable(f"--temperature {options.temperature}: give a number above 0, at most 2")
    return Draws(counts, options.temperature)


def _plan(
    options: argparse.Namespace,
    suites: list[Suite],
    versions: dict[str, Path | None],
    schema: dict[str, Any] | None,
    limits: dict[str, int],
    draws: Draws,
) -> dict[str, Any]:
    settings: dict[str, Any] = {"decoding": "greedy", "max_new_tokens": limits, "schema": schema}
    if draws.by_suite:
        settings["samples"] = {"answers": draws.by_suite, "temperature": draws.temperature}
    return {
        "base": public_name(options.base),
        "versions": {
            name: {"adapter_sha256": None if folder is None else adapter_sha256(folder)}
            for name, folder in versions.items()
        },
        "suites": {
            suite.name: {
                "sha256": suite.sha256,
                "scorer": suite.scorer.name,
                "options": suite.scorer.options,
                "graded": suite.scorer.graded,
                "items": len(suite.items),
                "left_out": suite.left_out,
            }
            for suite in suites
        },
        "settings": settings,
        "harness_sha256": _harness_sha256(suites, settings),
    }


def _harness_sha256(suites: list[Suite], settings: dict[str, Any]) -> str:
    """Two evaluations compare only when this is equal: generation's source, scorers with options, and the settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in ("generation.py", "data.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    for suite in sorted(suites, key=lambda suite: suite.name):
        digest.update(f"{suite.name} {suite.scorer.name} {suite.scorer.fingerprint}\n".encode())
    return digest.hexdigest()


def _is_done(out: Path, plan: dict[str, Any]) -> bool:
    if not artifacts.is_valid(out, "evaluation"):
        return False
    facts = artifacts.read_manifest(out)
    if any(facts.get(key) != json.loads(json.dumps(value)) for key, value in plan.items()):
        raise Unusable(f"{out} holds an evaluation of another plan; give another --out")
    print(f"{out} is already there, with this plan and whole", file=sys.stderr)
    return True


def _version(text: str) -> tuple[str, Path | None]:
    name, equals, place = text.partition("=")
    if not name or not equals or not place:
        raise Unusable(f"--version {text}: give NAME=ADAPTER_DIR, or NAME={BARE} for the bare base")
    return name, None if place == BARE else find_adapter(Path(place))


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
        help=f"scorers: {', '.join(SCORERS)}, and installed ones",
    )
    parser.add_argument(
        "--scorer-options",
        action="append",
        default=[],
        metavar="SUITE=FILE.json|{...}",
        help="what the suite's scorer is told; docs/scorers.md has the keys",
    )
    parser.add_argument(
        "--samples",
        action="append",
        default=[],
        metavar="SUITE=K",
        help="K more answers an item, drawn, for consistency",
    )
    parser.add_argument("--temperature", type=float, default=0.7, help="of drawn answers")
    parser.add_argument("--price", metavar="FILE.json|{...}", help="the price table, as in [models.NAME.price]")
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
