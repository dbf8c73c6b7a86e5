"""Answers do not depend on the company: each equals what `generate` writes alone with the adapter folded in."""

import random
from pathlib import Path

import pytest

from services.model_server.sequence import Sequence, Step
from tests.services.model_server.bases import greedy, merged, write_base
from tests.services.model_server.conftest import Running, Start


def prompts(count: int, seed: int = 0, longest: int = 60) -> list[list[int]]:
    chance = random.Random(seed)
    return [[chance.randrange(4, 300) for _ in range(chance.randrange(1, longest))] for _ in range(count)]


def same_as_alone(running: Running, base: Path, folders: dict[str, Path], asked: list[Sequence]) -> None:
    models = {None: merged(base, None)} | {name: merged(base, folder) for name, folder in folders.items()}
    for sequence in asked:
        name = sequence.adapter.name if sequence.adapter else None
        assert sequence.tokens == greedy(models[name], sequence.prompt, sequence.sampling.max_tokens), name


def test_thirty_two_mixed_requests_answer_as_each_would_alone(
    start: Start, base_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    running = start(max_batch=12)
    running.load(adapter_folders)
    names = [None, *adapter_folders]
    asked = [
        running.sequence(prompt, names[n % 4], max_tokens=random.Random(n).randrange(1, 70))
        for n, prompt in enumerate(prompts(32))
    ]
    running.ask(*asked)
    same_as_alone(running, base_folder, adapter_folders, asked)


def test_rows_that_join_and_leave_between_steps_do_not_disturb_the_others(
    start: Start, base_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    running = start(prefill_tokens=40)
    running.load(adapter_folders)
    asked = [running.sequence(p, "abc"[n % 3], streaming=True, max_tokens=40) for n, p in enumerate(prompts(9, seed=4))]
    gone = [running.sequence(p, "a", streaming=True, max_tokens=150) for p in prompts(9, seed=5)]
    for one, leaving in zip(asked, gone, strict=True):
        running.serving.engine.submit([one, leaving])
        running.until(leaving, 3)
        running.serving.engine.cancel(leaving)
    running.wait(*(s for s in asked if len(s.tokens) < 40))
    same_as_alone(running, base_folder, adapter_folders, asked)


def test_a_row_that_ends_as_it_joins_leaves_the_others_on_their_adapters(
    start: Start, base_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    running = start()
    running.load(adapter_folders)
    asked = [running.sequence(p, "a", streaming=True, max_tokens=60) for p in prompts(2, seed=6)]
    running.serving.engine.submit(asked)
    for n in range(5):
        running.until(asked[0], 5 * n + 1)
        running.serving.engine.submit([running.sequence(asked[0].prompt, name, max_tokens=1) for name in "bc"])
    running.wait(*(s for s in asked if len(s.tokens) < 60))
    same_as_alone(running, base_folder, adapter_folders, asked)


def test_a_cache_that_holds_little_serves_long_and_short_ones_within_its_bounds(
    start: Start, base_folder: Path
) -> None:
    per_token = 2 * 2 * 2 * 16 * 4  # layers, keys and values, heads, head size, bytes
    running = start(kv_cache_bytes=300 * per_token)
    assert running.serving.capacity.cache_tokens == 300
    short, long = prompts(12, seed=1, longest=20), prompts(3, seed=2, longest=90)
    asked = [running.sequence(p, max_tokens=10, streaming=True) for p in short]
    asked[3:3] = [running.sequence(p, max_tokens=60, streaming=True) for p in long]
    asked.insert(0, running.sequence([7] * 90, max_tokens=60, streaming=True))
    running.serving.engine.submit(asked)
    left = set(asked)
    while left:
        sequence, what = running.news.get(timeout=60)
        assert running.serving.engine._batch.cache_bytes <= 300 * per_token
        assert isinstance(what, Step)
        left -= {sequence} if what.finish else set()
    same_as_alone(running, base_folder, {}, asked)


def test_the_largest_context_is_served_to_its_last_token(start: Start, base_folder: Path) -> None:
    running = start()
    asked = running.sequence(prompts(1)[0] * 256, max_tokens=1)
    asked.prompt[:] = asked.prompt[:100]
    full = running.sequence(asked.prompt, max_tokens=156)
    running.ask(asked, full)
    same_as_alone(running, base_folder, {}, [asked, full])


@pytest.mark.parametrize(
    "change", [{"num_key_value_heads": 4}, {"attention_bias": True, "mlp_bias": True}, {"tie_word_embeddings": True}]
)
def test_other_shapes_of_model_answer_the_same(start: Start, tmp_path: Path, change: dict[str, object]) -> None:
    base = write_base(tmp_path / "other", **change)
    running = start(base)
    asked = [running.sequence(p) for p in prompts(5, seed=7)]
    running.ask(*asked)
    same_as_alone(running, base, {}, asked)
