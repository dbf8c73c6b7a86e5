"""Nothing typed is lost, and nothing is sent twice; what the page says while it waits."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.services.annotation.desk_page.screen import FIXED, Desk, item

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROGRESS = {"waiting": 0, "done_today": 0, "done": 0, "budget": 40, "examples": 0}


def test_a_draft_survives_a_reload_also_of_an_item_further_down(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("s")
    desk.shows("s2")
    page.locator("#ideal").fill(FIXED)
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.locator("#comment").fill("ask Bo")
    page.reload()
    desk.shows("s2")
    expect(page.locator("#ideal")).to_have_value(FIXED)
    expect(page.locator("#comment")).to_have_value("ask Bo")
    expect(page.locator("input[value=tone]")).to_be_checked()
    expect(page.locator("#notice")).to_contain_text("unsent draft")


def test_a_verdict_is_sent_again_until_the_server_has_it(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    answers = iter([503, 500])

    def fail_twice(route: Route) -> None:
        status = next(answers, None)
        route.fulfill(status=status, json={"detail": "disk full"}) if status else route.continue_()

    page.route("**/verdict", fail_twice)
    page.locator("#ideal").fill(FIXED)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#notice")).to_contain_text("disk full")
    expect(page.locator("#ideal")).to_have_value(FIXED)
    page.locator("#notice-now").click()
    desk.shows("s2")
    assert desk.sent[0] == desk.sent[1] == desk.sent[2]
    assert page.evaluate("Object.keys(localStorage).filter(k => k.includes('draft'))") == []


def test_without_a_connection_the_person_may_stop_and_reload_and_finds_the_text(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    page.route("**/verdict", lambda route: route.abort())
    page.locator("#ideal").fill(FIXED)
    page.keyboard.press("Control+Enter")
    page.locator("#notice-stop").click()
    expect(page.locator("#ideal")).to_be_editable()
    page.reload()
    expect(page.locator("#ideal")).to_have_value(FIXED)


def test_pressing_submit_many_times_sends_one_verdict(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1"), item("s2")])
    page = desk.open()
    desk.shows("s1")
    page.keyboard.press("g")
    page.evaluate("for (let i = 0; i < 5; i++) document.getElementById('work').requestSubmit()")
    desk.shows("s2")
    assert len(desk.sent) == 1


def test_a_new_item_appears_by_itself(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    page.route("**/next*", lambda route: route.fulfill(json={"item": None, "progress": PROGRESS}))
    page.keyboard.press("s")
    expect(page.locator("#empty-text")).to_contain_text("looks again by itself")
    page.unroute("**/next*")
    desk.shows("s1")


def test_a_spent_budget_is_told(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1")])
    spent = {"item": None, "progress": {**PROGRESS, "done_today": 40}}
    desk.page.route("**/next*", lambda route: route.fulfill(json=spent))
    page = desk.open()
    expect(page.locator("#empty-title")).to_have_text("Done for today")
