import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import artifacts
from training.evaluate import main as evaluate
from training.examples import read_items
from training.model import BUILTIN, load_tokenizer
from training.tiny import house
from training.tiny.domains import DOMAINS
from training.tiny.words import DEVICES, URGENCIES
from training.tiny.world import KINDS, Message, conversation, draw_message, draw_task, held_out

BASE = BUILTIN["builtin:tiny"]
SEEDS = st.integers(0, 1 << 32)


def text_of(messages: tuple[dict[str, str], ...] | list[dict[str, str]]) -> str:
    return " ".join(message["content"] for message in messages[:-1])


@given(SEEDS)
def test_the_same_seed_gives_the_same_task(seed: int) -> None:
    one, other = (conversation(str(seed), want_held_out=False, turns=2) for _ in range(2))
    assert one == other


@given(SEEDS)
def test_a_message_says_each_of_its_fields_once(seed: int) -> None:
    rng = Random(seed)
    message = draw_message(rng, rng.choice(DOMAINS))
    assert all(value in message.text for value in message.said.values())


@given(SEEDS, st.sampled_from(KINDS))
def test_every_kind_of_task_has_one_answer_made_of_the_message_and_its_labels(seed: int, kind: str) -> None:
    rng = Random(seed)
    message: Message = draw_message(rng, rng.choice(DOMAINS))
    task = draw_task(rng, message, kind)
    assert task.kind == kind
    assert task.answer.strip() == task.answer != ""
    if kind == "json":
        values = [value for value in json.loads(task.answer).values() if value is not None]
        assert all(str(value) in message.said.values() for value in values)


def test_pretraining_and_the_general_suite_never_share_a_message() -> None:
    """The message's own hash decides its side, so no seed can bring it to the other."""
    rng = Random(0)
    messages = [draw_message(rng, rng.choice(DOMAINS)).text for _ in range(4000)]
    assert 0.04 < sum(map(held_out, messages)) / len(messages) < 0.09
    assert not {conversation(str(i), want_held_out=True)[1][-2]["content"] for i in range(200)} & {
        conversation(str(i), want_held_out=False)[1][-2]["content"] for i in range(200)
    }


def test_the_house_format_is_none_of_the_formats_of_the_world() -> None:
    labels = {label for domain in DOMAINS for field in domain.fields.values() for label in field.labels}
    assert not {"queue", "severity", "action"} & labels


def test_the_house_rules_speak_of_things_of_the_world() -> None:
    assert set(house.QUEUE_OF_DEVICE) <= set(DEVICES)
    assert set(house.SEVERITY_OF_URGENCY) <= set(URGENCIES)
    assert set(house.SEVERITY_OF_URGENCY.values()) == {1, 2, 3, 4}


def test_a_house_ticket_follows_the_house_rules() -> None:
    assert house.answer_fields("Mara Voss", "router-417", "very urgent") == {
        "queue": "network",
        "severity": 2,
        "customer": "Mara Voss",
        "asset": "router-417",
        "action": "dispatch",
    }


@given(SEEDS)
def test_a_house_ticket_says_what_its_answer_needs_and_fits_the_schema(seed: int) -> None:
    from jsonschema import Draft202012Validator

    made = house.ticket(seed)
    assert made == house.ticket(seed)
    assert json.loads(made.answer) == made.fields
    assert list(made.fields) == list(house.FIELDS)
    assert str(made.fields["customer"]) in made.text
    assert str(made.fields["asset"]) in made.text
    assert Draft202012Validator(house.ANSWER_SCHEMA).is_valid(made.fields)


def test_house_tickets_are_short_and_rarely_alike() -> None:
    tickets = [house.ticket(seed).text for seed in range(200)]
    tokenizer = load_tokenizer("builtin:tiny")
    assert max(len(tokenizer(text)["input_ids"]) for text in tickets) <= 110
    words = [text.split() for text in tickets]
    grams = [{tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in words]
    alike = {i for i, a in enumerate(grams) for j, b in enumerate(grams) if i != j and len(a & b) >= 0.8 * len(a | b)}
    assert len(alike) <= 4


def test_the_base_is_whole_and_small() -> None:
    facts = artifacts.verify(BASE, "base")
    assert facts["files"]["model.safetensors"]["bytes"] <= 16 << 20
    assert 1_500_000 <= facts["parameters"] <= 6_000_000
    assert {"recipe", "seed", "steps", "final_loss"} <= set(facts)


def test_suite_and_replay_are_disjoint_and_cover_every_kind() -> None:
    suite, replay = read_items(BASE / "general_suite.jsonl"), read_items(BASE / "general_replay.jsonl")
    assert (len(suite), len(replay)) == (600, 1500)
    assert {item.slice for item in suite} == {item.slice for item in replay} == set(KINDS)
    assert not {text_of(item.messages) for item in suite} & {text_of(item.messages) for item in replay}


@pytest.mark.parametrize(
    "text", ["Zoë paid 12 €", "line\nbreak\ttab", "日本語 🙂", " leading  double ", "MiXeD CaSe-99"]
)
def test_the_tokenizer_gives_back_any_text(text: str) -> None:
    tokenizer = load_tokenizer("builtin:tiny")
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_are_tokens_by_themselves() -> None:
    assert load_tokenizer("builtin:tiny").tokenize("417") == ["4", "1", "7"]


def test_a_role_the_template_does_not_know_is_refused() -> None:
    with pytest.raises(Exception, match="roles are system, user and assistant, not tool"):
        load_tokenizer("builtin:tiny").apply_chat_template([{"role": "tool", "content": "x"}])


@pytest.mark.slow
def test_the_base_is_a_competent_generalist_that_does_not_know_the_house_format(tmp_path: Path) -> None:
    tickets = tmp_path / "tickets.jsonl"
    rows = []
    for seed in range(9000, 9060):
        made = house.ticket(seed)
        prompt = [{"role": "system", "content": house.SYSTEM_PROMPT}, {"role": "user", "content": made.text}]
        rows.append({"id": str(seed), "messages": [*prompt, {"role": "assistant", "content": made.answer}]})
    tickets.write_text("".join(json.dumps(row) + "\n" for row in rows))
    suites = [f"general={BASE / 'general_suite.jsonl'}", f"house={tickets}:json_fields"]
    command = ["--base", "builtin:tiny", "--version", "b=base", "--out", str(tmp_path / "e"), "--max-new-tokens", "96"]
    assert evaluate([*command, "--suite", suites[0], "--suite", suites[1]]) == 0
    summary = artifacts.read_manifest(tmp_path / "e")["summary"]["b"]
    assert summary["general"]["exact"] >= 0.97
    assert summary["house"]["exact"] <= 0.3
