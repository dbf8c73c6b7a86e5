"""An hour at the desk without a mouse: correcting, going back, putting off; and what is not sent."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.services.annotation.desk_page.screen import ANSWER, FIXED, Desk, item

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_an_answer_is_corrected(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(FIXED)
    expect(page.locator("#check")).to_have_text("has the form this workload asks for")
    expect(page.locator("#diff del")).to_have_text(["billing", '"high"'])
    expect(page.locator("#diff ins")).to_have_text(["network", "1"])
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("3")
    page.keyboard.press("Control+Enter")
    desk.shows("s2")
    expected = {
        "verdict": "fix",
        "ideal": FIXED,
        "reasons": ["format", "wrong"],
        "annotator": "Ines",
        "comment": "",
    }
    assert desk.sent == [expected]
    assert desk.complaints == []
    assert desk.hosts == {desk.url.split("/")[2]}
    expect(page.locator("#waiting")).to_have_text("1")


def test_good_and_discard_carry_the_models_answer(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("g")
    page.keyboard.press("Control+Enter")
    desk.shows("s2")
    page.keyboard.press("d")
    page.keyboard.press("3")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#empty-title")).to_contain_text("Nothing waits")
    assert [(s["verdict"], s["ideal"], s["reasons"]) for s in desk.sent] == [
        ("good", ANSWER, []),
        ("discard", ANSWER, ["wrong"]),
    ]


def test_going_back_brings_the_last_item_with_what_was_said(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("d")
    page.keyboard.press("Control+Enter")
    desk.shows("s2")
    page.keyboard.press("u")
    desk.shows("s1")
    expect(page.locator("input[value=discard]")).to_be_checked()
    expect(page.locator("#notice")).to_contain_text("replaces it")
    page.keyboard.press("g")
    page.keyboard.press("Control+Enter")
    desk.shows("s2")
    assert [s["verdict"] for s in desk.sent] == ["discard", "good"]


def test_an_item_put_off_comes_round_again(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    for sample_id in ("s1", "s2", "s1"):
        desk.shows(sample_id)
        page.keyboard.press("s")
    assert desk.sent == []


def test_single_keys_can_be_switched_off(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("?")
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    expect(page.locator("input[value=good]")).not_to_be_checked()


def test_keys_typed_into_the_text_stay_text(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1", answer="", ideal="")], schema=None)
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("e")
    page.keyboard.type("gfdsu1?")
    expect(page.locator("#ideal")).to_have_value("gfdsu1?")
    expect(page.locator("input[value=fix]")).to_be_checked()


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        (None, "", "Choose a verdict first"),
        (None, "f", "still the model's answer"),
        ("  ", "f", "ideal answer is empty"),
        ("other", "g", "You changed the text"),
    ],
)
def test_a_verdict_that_makes_no_sense_is_not_sent(
    desk_of: Callable[..., Desk], text: str | None, key: str, sentence: str
) -> None:
    desk = desk_of([item("s1")], schema=None)
    page = desk.open()
    desk.shows("s1")
    if text is not None:
        page.locator("#ideal").fill(text)
        page.keyboard.press("Escape")
    if key:
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#objection")).to_contain_text(sentence)
    assert desk.sent == []


def test_a_text_of_the_wrong_form_is_named_and_sent_only_on_the_second_try(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    page.locator("#ideal").fill('{"queue": "sales", "mood": 1}')
    problems = [
        "priority is missing",
        'queue should be one of "network", "billing"',
        "mood is not a key of this answer",
    ]
    expect(page.locator("#check li")).to_have_text(problems)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#objection")).to_contain_text("Submit again")
    assert desk.sent == []
    page.keyboard.press("Control+Enter")
    expect(page.locator("#empty-title")).to_be_visible()
    assert len(desk.sent) == 1


def test_the_servers_own_refusal_is_shown_and_the_text_stays(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    refusal = {"status": 422, "json": {"detail": "the ideal answer is over 100 kB; shorten it"}}
    page.route("**/verdict", lambda route: route.fulfill(**refusal))
    page.locator("#ideal").fill(FIXED)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_contain_text("over 100 kB")
    expect(page.locator("#ideal")).to_have_value(FIXED)
    expect(page.locator("#submit")).to_be_enabled()
