import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data import NO_LOSS, Rendered, best_fit, packed, prompt_ids, render, steps_of_epoch
from training.examples import Example
from training.model import add_adapter, load_base, load_tokenizer
from training.objective import answer_loss_sum, output_is_plain
from training.preset import read_preset

PROMPT = ({"role": "system", "content": "Be exact."}, {"role": "user", "content": "Order 12 of Mara.\nWhich order?"})
EXAMPLE = Example("e1", "g1", "fix", (*PROMPT, {"role": "assistant", "content": "Order 12, für Mara \N{EURO SIGN}"}))


def lesson(name: str, length: int, prompt_tokens: int = 1) -> Rendered:
    return Rendered(name, [(7 * i + length) % 200 + 5 for i in range(length)], prompt_tokens)


def test_the_prompt_is_what_a_model_server_feeds_the_model() -> None:
    tokenizer = load_tokenizer("builtin:tiny")
    served = tokenizer.apply_chat_template(list(PROMPT), add_generation_prompt=True, tokenize=True)["input_ids"]
    assert prompt_ids(tokenizer, PROMPT) == served
    assert render(tokenizer, EXAMPLE).ids[: len(served)] == served


def test_an_example_is_the_rendered_chat_byte_for_byte() -> None:
    tokenizer = load_tokenizer("builtin:tiny")
    whole = tokenizer.apply_chat_template(list(EXAMPLE.messages), tokenize=False)
    assert tokenizer.decode(render(tokenizer, EXAMPLE).ids) == whole


def test_loss_falls_on_the_answer_and_its_end_only() -> None:
    tokenizer = load_tokenizer("builtin:tiny")
    rendered = render(tokenizer, EXAMPLE)
    (pack,) = packed([rendered], pack_tokens=64, pass_tokens=64, pad=0)
    learned = pack.targets[pack.targets != NO_LOSS]
    assert tokenizer.decode(learned) == EXAMPLE.answer + tokenizer.eos_token


def test_packed_examples_do_not_see_each_other() -> None:
    """The summed loss of a packed row is the sum of the losses of its examples alone."""
    model = load_base("builtin:tiny")
    step = [lesson("a", 30, 20), lesson("b", 17, 3), lesson("c", 25, 12), lesson("d", 9, 2)]

    def loss(examples: list[Rendered], pack_tokens: int) -> float:
        passes = packed(examples, pack_tokens=pack_tokens, pass_tokens=4096, pad=0)
        return sum(answer_loss_sum(model, pack.to(model.device), plain_output=True)[0].item() for pack in passes)

    together, alone = loss(step, 64), sum(loss([example], 1) for example in step)
    assert abs(together - alone) < 1e-4 * alone


def test_the_short_way_through_the_output_layer_gives_the_models_own_loss() -> None:
    model = add_adapter(load_base("builtin:tiny"), read_preset("default")).eval()
    (pack,) = packed([lesson("a", 30, 20), lesson("b", 17, 3)], pack_tokens=64, pass_tokens=4096, pad=0)
    pack = pack.to(model.device)
    assert output_is_plain(model, pack)
    short, count = answer_loss_sum(model, pack, plain_output=True)
    own, own_count = answer_loss_sum(model, pack, plain_output=False)
    assert count == own_count == 24
    assert torch.allclose(short, own, rtol=1e-5)


@given(st.lists(st.integers(2, 90), min_size=1, max_size=40), st.integers(90, 200))
def test_packing_keeps_every_example_once_and_overfills_no_row(lengths: list[int], row_tokens: int) -> None:
    step = [lesson(str(i), length) for i, length in enumerate(lengths)]
    rows = best_fit(step, row_tokens)
    assert sorted(example.example_id for row in rows for example in row) == sorted(e.example_id for e in step)
    assert all(sum(map(len, row)) <= row_tokens for row in rows)


def test_no_pass_is_longer_than_allowed() -> None:
    step = [lesson(str(i), 50) for i in range(20)]
    passes = list(packed(step, pack_tokens=100, pass_tokens=250, pad=0))
    assert all(pack.tokens.numel() <= 250 for pack in passes)
    assert sum(int((pack.targets != NO_LOSS).sum()) for pack in passes) == 20 * 49


def test_an_example_longer_than_a_row_still_trains() -> None:
    (pack,) = packed([lesson("long", 300)], pack_tokens=100, pass_tokens=200, pad=0)
    assert pack.tokens.shape == (1, 300)


def test_replay_adds_its_share_and_packing_never_raises_the_examples_of_a_step() -> None:
    examples = [lesson(f"e{i}", 5) for i in range(10)]
    replay = [lesson(f"r{i}", 5) for i in range(12)]
    plan = [
        steps_of_epoch(examples, replay, seed=1, epoch=epoch, batch_examples=4, replay_share=0.6) for epoch in (0, 1)
    ]
    assert [len(step) for step in plan[0]] == [4, 4, 4, 4]
    drawn = [{e.example_id for step in epoch for e in step if e.example_id[0] == "r"} for epoch in plan]
    assert len(drawn[0]) == len(drawn[1]) == 6
    assert drawn[0] | drawn[1] == {e.example_id for e in replay}
    assert {e.example_id for step in plan[0] for e in step} >= {e.example_id for e in examples}


def test_the_order_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    examples = [lesson(str(i), 5) for i in range(30)]

    def order(seed: int) -> list[list[Rendered]]:
        return steps_of_epoch(examples, [], seed=seed, epoch=0, batch_examples=8, replay_share=0)

    assert order(1) == order(1)
    assert order(1) != order(2)
