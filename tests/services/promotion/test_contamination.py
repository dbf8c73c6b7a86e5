"""Texts of the holdout in the training: what is a leak, and what is only the form that all items share."""

from random import Random

import pytest

from services.promotion.contamination import Text, find_overlaps, text_of
from training.tiny.house import ticket

STORY = (
    "The crane at berth seven stopped while it was lifting a container of frozen fish, the driver heard two bangs and "
    "smelled burnt rubber, and the display under the window went dark before anybody could read the number on it"
)
WORDS = [f"{first}{second}" for first in ("ba", "ke", "mi", "to", "ru", "sa") for second in ("lun", "der", "vo", "gat")]


def text(name: str, question: str, answer: str = "") -> Text:
    return text_of(name, f"group-{name}", [{"role": "user", "content": question}], answer)


def chatter(seed: int, words: int = 40) -> str:
    rng = Random(seed)
    return " ".join(f"{rng.choice(WORDS)}{rng.randrange(100)}" for _ in range(words))


def invoice(seed: int) -> str:
    """A long form with few words of its own."""
    rng = Random(f"invoice-{seed}")
    return (
        "Dear Sir or Madam, please find enclosed our invoice for the goods that were delivered to your warehouse on "
        f"{rng.randint(1, 28)} {rng.choice(('March', 'April', 'May'))}, payable within thirty days without deduction. "
        f"Invoice number {rng.randrange(10**6)}, {rng.randint(1, 40)} pieces, total {rng.randrange(10**5)} euros. "
        "Please quote the number of the invoice with your payment, and write to the address above with all questions."
    )


def house(seed: int) -> Text:
    drawn = ticket(seed)
    return text(str(seed), drawn.text, drawn.answer)


TRAINING = [text(f"t{n}", chatter(n)) for n in range(200)]


def kinds(held: list[Text], training: list[Text]) -> list[tuple[str, str, str]]:
    return [(o.kind, o.item, o.example) for o in find_overlaps(training, held)]


def test_a_copy_is_found_whatever_its_id_its_case_and_its_spaces() -> None:
    held = [text("h1", STORY.upper().replace(" ", "\n "), "Ok."), text("h2", chatter(900))]
    assert kinds(held, [*TRAINING, text("x", STORY, "ok")]) == [("identical", "h1", "x")]


def test_an_item_inside_a_longer_example_is_found_by_its_13_grams() -> None:
    found = find_overlaps([*TRAINING, text("x", f"{chatter(1)} {STORY} {chatter(2)}")], [text("h", STORY, "berth 7")])
    assert [(o.kind, o.item, o.example) for o in found] == [("13-gram", "h", "x")]
    assert found[0].shared.startswith("the crane at berth seven stopped")


def test_a_sentence_in_a_long_item_is_no_leak_of_it() -> None:
    sentence = " ".join(STORY.split()[:15])
    assert kinds([text("h", f"{sentence} {chatter(900, 80)}")], [*TRAINING, text("x", sentence)]) == []


def test_a_copy_with_a_word_changed_in_thirty_is_found_and_one_with_a_word_in_five_is_another_text() -> None:
    words = (STORY + " " + STORY.replace("crane", "lift").replace("fish", "peas")).split()
    for every, found in ((30, ["h"]), (5, [])):
        changed = [f"other{n}" if n % every == every - 1 else word for n, word in enumerate(words)]
        held = [text("h", " ".join(changed))]
        assert [item for _, item, _ in kinds(held, [*TRAINING, text("x", " ".join(words))])] == found
    short = STORY.split()[:24]
    assert kinds([text("h", " ".join([*short[:11], "again", *short[11:]]))], [*TRAINING, text("x", " ".join(short))])[
        0
    ] == ("near-duplicate", "h", "x")


def test_a_form_that_all_share_is_no_leak_and_a_copy_within_it_is() -> None:
    training = [text(f"t{n}", invoice(n)) for n in range(200)]
    held = [text(f"h{n}", invoice(1000 + n)) for n in range(100)]
    assert kinds(held, training) == []
    leaked = text("x", f"URGENT: {invoice(1042)}")
    assert [(item, example) for _, item, example in kinds(held, [*training, leaked])] == [("h42", "x")]


def test_the_next_invoice_to_the_same_customer_is_no_leak() -> None:
    def to(customer: int, seed: int) -> str:
        return f"{chatter(customer, 12)} {invoice(seed)}"

    training = [text(f"t{n}", to(n % 60, n)) for n in range(200)]
    held = [text(f"h{n}", to(n % 60, 1000 + n)) for n in range(100)]
    assert kinds(held, training) == []
    assert [item for _, item, _ in kinds(held, [*training, text("x", f"{to(42, 1042)} Thanks!")])] == ["h42"]


@pytest.mark.parametrize("world", range(5))
def test_tickets_of_the_demo_are_no_leak_and_a_copied_one_is(world: int) -> None:
    training = [house(10_000 * world + n) for n in range(200)]
    held = [house(10_000 * world + 5_000 + n) for n in range(90)]
    assert kinds(held, training) == []
    leaked = [text(f"x{n}", ticket(int(held[n].id)).text, ticket(int(held[n].id)).answer) for n in (3, 60)]
    assert [(kind, example) for kind, _, example in kinds(held, training + leaked)] == [
        ("identical", "x3"),
        ("identical", "x60"),
    ]


def test_a_copy_that_stands_in_one_group_a_hundred_times_is_still_a_leak() -> None:
    copies = [text_of(f"x{n}", "one", [{"role": "user", "content": f"{STORY} {n}"}]) for n in range(100)]
    assert [item for _, item, _ in kinds([text("h", STORY)], [*TRAINING, *copies])] == ["h"]


def test_the_system_prompt_that_all_share_is_no_text_of_an_item() -> None:
    both = [
        text_of(name, name, [{"role": "system", "content": STORY}, {"role": "user", "content": said}])
        for name, said in (("x", chatter(1)), ("h", chatter(2)))
    ]
    assert kinds(both[1:], both[:1]) == []


def test_without_words_there_is_nothing_to_find() -> None:
    nothing = [text("x", ""), text_of("y", "y", [{"role": "user", "content": None}]), text("z", "?!")]
    assert kinds(nothing, nothing) == []
    assert kinds([text("h", "yes")], [text("x", "no")]) == []
