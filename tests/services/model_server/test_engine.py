"""Loading, unloading, cancelling and failing while answers are on their way."""

import math
from pathlib import Path
from typing import Any

import pytest

from services.model_server.engine import Refused
from services.model_server.sequence import Failed, Step
from tests.services.model_server.bases import greedy, merged
from tests.services.model_server.conftest import Running, Start

PROMPT = "hello there, how is the printer today?"


def test_each_adapter_answers_in_its_own_way(start: Start, adapter_folders: dict[str, Path]) -> None:
    running = start()
    running.load(adapter_folders)
    asked = running.ask(*(running.sequence(PROMPT, name) for name in (None, "a", "b", "c")))
    assert len({tuple(s.tokens) for s in asked}) == 4


def test_an_answer_in_flight_keeps_the_adapter_it_began_with(
    start: Start, base_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    running = start()
    running.load({"a": adapter_folders["a"]})
    begun = running.sequence(PROMPT, "a", streaming=True, max_tokens=150)
    running.serving.engine.submit([begun])
    running.until(begun, 5)
    running.load({"a": adapter_folders["b"]}, in_place=True)
    after = running.sequence(PROMPT, "a", max_tokens=30)
    running.serving.adapters.unload("a")
    running.load({"a": adapter_folders["c"]})
    running.serving.engine.submit([after])
    running.wait(begun, after)
    assert begun.tokens == greedy(merged(base_folder, adapter_folders["a"]), begun.prompt, 150)
    assert after.tokens == greedy(merged(base_folder, adapter_folders["b"]), after.prompt, 30)


def test_an_unloaded_adapter_is_let_go_when_its_last_answer_has_ended(
    start: Start, adapter_folders: dict[str, Path]
) -> None:
    running = start()
    running.load(adapter_folders)
    running.ask(*(running.sequence(PROMPT, name) for name in "ab"))
    again = running.ask(running.sequence(PROMPT, "b"))[0]
    for name in "abc":
        running.serving.adapters.unload(name)
    running.ask(running.sequence(PROMPT))
    running.serving.engine.close()
    layers = running.serving.engine._batch._switch.layers.values()
    assert all(layer.down is None for layer in layers)
    assert again.tokens


def test_a_cancelled_answer_frees_its_place(start: Start) -> None:
    running = start(max_batch=1)
    endless = running.sequence(PROMPT, streaming=True, max_tokens=200)
    running.serving.engine.submit([endless])
    running.until(endless, 2)
    waiting = running.sequence(PROMPT, max_tokens=3)
    never = running.sequence(PROMPT, max_tokens=3)
    running.serving.engine.submit([never, waiting])
    running.serving.engine.cancel(never)
    running.serving.engine.cancel(endless)
    running.wait(waiting)
    assert len(waiting.tokens) == 3
    assert len(endless.tokens) < 200
    assert never.tokens == []


def test_first_come_is_first_served(start: Start) -> None:
    running = start(max_batch=2)
    asked = [running.sequence(PROMPT, max_tokens=4) for _ in range(7)]
    running.serving.engine.submit(asked)
    ended = [running.news.get(timeout=60)[0] for _ in asked]
    assert [asked.index(s) // 2 for s in ended] == [0, 0, 1, 1, 2, 2, 3]


def test_more_than_may_wait_are_refused_all_or_none(start: Start) -> None:
    running = start(max_batch=1, max_queue=3)
    held = running.sequence(PROMPT, streaming=True, max_tokens=200)
    running.serving.engine.submit([held])
    running.until(held, 1)
    with pytest.raises(Refused, match="0 answers wait already"):
        running.serving.engine.submit([running.sequence(PROMPT, max_tokens=1) for _ in range(4)])
    running.serving.engine.cancel(held)
    three = running.ask(*(running.sequence(PROMPT, max_tokens=1) for _ in range(3)))
    assert [len(s.tokens) for s in three] == [1, 1, 1]


def test_logits_that_are_no_numbers_fail_their_own_row_only(
    start: Start, base_folder: Path, adapter_folders: dict[str, Path]
) -> None:
    running = start()
    running.load(adapter_folders)
    broken = running.serving.adapters.get("a")
    assert broken is not None
    for down, _up in broken.weights.values():
        down.fill_(1e38)  # finite, so it passed the check; the products overflow
    sound, sick = running.sequence(PROMPT, "b"), running.sequence(PROMPT, "a")
    running.serving.engine.submit([sick, sound])
    news = dict(running.news.get(timeout=60) for _ in range(2))
    assert isinstance(news[sick], Failed)
    assert "adapter 'a' gave logits that are not numbers" in news[sick].why
    assert isinstance(news[sound], Step)
    assert sound.tokens == greedy(merged(base_folder, adapter_folders["b"]), sound.prompt, 20)


def test_when_the_engine_dies_everyone_is_told_and_nobody_waits_for_ever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start()

    def broken(*_: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(running.serving.engine._batch, "step", broken)
    asked = [running.sequence(PROMPT) for _ in range(3)]
    running.serving.engine.submit(asked)
    news = dict(running.news.get(timeout=60) for _ in asked)
    assert {type(what) for what in news.values()} == {Failed}
    assert running.died.wait(timeout=60)
    with pytest.raises(Refused):
        running.serving.engine.submit([running.sequence(PROMPT)])


def test_closing_tells_those_who_still_wait(start: Start) -> None:
    running = start(max_batch=1)
    asked = [running.sequence(PROMPT, max_tokens=200) for _ in range(3)]
    running.serving.engine.submit(asked)
    running.serving.engine.close()
    news = dict(running.news.get(timeout=60) for _ in asked)
    assert all(isinstance(what, Failed) or what.finish for what in news.values())
    assert any(isinstance(what, Failed) and "stopping" in what.why for what in news.values())


def test_a_stop_string_ends_an_answer_within_the_batch(start: Start) -> None:
    running = start()
    free = running.ask(running.sequence(PROMPT, max_tokens=30))[0]
    text = "".join(step.text for step in free.steps)
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    stopped, other = running.ask(running.sequence(PROMPT, max_tokens=30, stops=[stop]), running.sequence(PROMPT))
    assert "".join(step.text for step in stopped.steps) == text[: text.index(stop)]
    assert (stopped.steps[-1].finish, stopped.steps[-1].stop) == ("stop", stop)
    assert other.tokens == free.tokens[:20]


def test_the_end_token_ends_an_answer_and_counts(start: Start) -> None:
    running = start()
    free = running.ask(running.sequence(PROMPT))[0]
    ends = running.serving.engine._end_tokens = frozenset([free.tokens[4]])
    asked = running.ask(running.sequence(PROMPT, ignore_eos=False))[0]
    first = next(i for i, token in enumerate(free.tokens) if token in ends)
    assert asked.tokens == free.tokens[: first + 1]
    assert (asked.steps[-1].finish, asked.steps[-1].stop, asked.steps[-1].text) == ("stop", None, "")


def test_log_probabilities_are_those_of_the_model(running: Running, base_folder: Path) -> None:
    import torch

    asked = running.ask(running.sequence(PROMPT, max_tokens=5, logprobs=3), running.sequence(PROMPT))[0]
    with torch.inference_mode():
        logits = merged(base_folder, None)(torch.tensor([asked.prompt + asked.tokens])).logits[0]
    for i, step in enumerate(asked.steps):
        expected = logits[len(asked.prompt) - 1 + i].log_softmax(-1)
        assert step.logprob is not None
        assert math.isclose(step.logprob.chosen, float(expected[step.token]), abs_tol=1e-4)
        assert [token for token, _ in step.logprob.alternatives] == expected.topk(3).indices.tolist()


@pytest.fixture
def running(start: Start) -> Running:
    return start()
