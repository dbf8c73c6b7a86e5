"""The desk's page in a real browser, over a double of its calls; test_desk_live.py does the same over the service."""

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.services.annotation.desk_double import PAGE, desk_app

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
SCHEMA = {
    "type": "object",
    "required": ["queue", "priority"],
    "additionalProperties": False,
    "properties": {"queue": {"enum": ["network", "billing"]}, "priority": {"type": "integer"}},
}
ANSWER = '{"queue": "billing", "priority": "high"}'
FIXED = '{"queue": "network", "priority": 1}'

browser_test = [pytest.mark.browser, pytest.mark.slow]


def item(sample_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "workload": "support-triage",
        "version": "support-triage@3f2a9c01d4e5b6a7",
        "messages": [
            {"role": "system", "content": "Sort it."},
            {"role": "user", "content": f"{sample_id}: no network"},
        ],
        "answer": ANSWER,
        "ideal": ANSWER,
        "signal": "schema_invalid",
        "confidence": 0.4,
        "served_at": "2026-11-20T09:12:33.120000Z",
        "feedback": [],
        "schema_errors": ["priority: 'high' is not an integer"],
        "state": "waiting",
        "verdict": None,
        **changes,
    }


@dataclass
class Desk:
    """A page on a served double, and what it sent."""

    url: str
    items: list[dict[str, Any]]
    page: Page
    sent: list[dict[str, Any]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def open(self) -> Page:
        self.page.on("request", self._saw)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(self.url)
        self.page.locator("#name-dialog[open]").wait_for()
        self.page.keyboard.type("Ines")
        self.page.keyboard.press("Enter")
        return self.page

    def shows(self, sample_id: str) -> None:
        expect(self.page.locator("#messages .user .text")).to_have_text(f"{sample_id}: no network")
        expect(self.page.locator("#submit")).to_be_enabled()

    def _saw(self, request: Any) -> None:
        self.hosts.add(request.url.split("/")[2])
        if request.method == "POST":
            self.sent.append(json.loads(request.post_data))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail("no /usr/bin/chromium; apt-get install chromium, or leave these out with -m 'not browser'")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def desk_of(browser: Browser) -> Iterator[Callable[..., Desk]]:
    stops: list[Callable[[], None]] = []

    def start(items: list[dict[str, Any]], *, schema: Any = SCHEMA, width: int = 1280) -> Desk:
        server = uvicorn.Server(uvicorn.Config(desk_app(items, schema), port=0, log_level="error"))
        socket = server.config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        context = browser.new_context(viewport={"width": width, "height": 800}, locale="en-GB")
        context.set_default_timeout(15_000)

        def stop() -> None:
            context.close()
            server.should_exit = True
            thread.join()

        stops.append(stop)
        return Desk(f"http://127.0.0.1:{socket.getsockname()[1]}/", items, context.new_page())

    yield start
    for stop in stops:
        stop()


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() -> None:
    html = (PAGE / "index.html").read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:", html)
    assert all(tag == '<script type="module" src="desk.js">' for tag in re.findall(r"<script[^>]*>", html))
    for file in PAGE.iterdir():
        assert not re.search(r"https?:|//[a-z]+\.", file.read_text().replace("// ", "")), file.name
        assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\(|DOMParser", file.read_text()), (
            file.name
        )


class TestByKeyboard:
    pytestmark = browser_test

    def test_an_answer_is_corrected(self, desk_of: Callable[..., Desk]) -> None:
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

    def test_good_and_discard_carry_the_models_answer(self, desk_of: Callable[..., Desk]) -> None:
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

    def test_going_back_brings_the_last_item_with_what_was_said(self, desk_of: Callable[..., Desk]) -> None:
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

    def test_an_item_put_off_comes_round_again(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1"), item("s2")])
        page = desk.open()
        for sample_id in ("s1", "s2", "s1"):
            desk.shows(sample_id)
            page.keyboard.press("s")
        assert desk.sent == []

    def test_single_keys_can_be_switched_off(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1")])
        page = desk.open()
        desk.shows("s1")
        page.keyboard.press("?")
        page.locator("#single-keys").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        expect(page.locator("input[value=good]")).not_to_be_checked()

    def test_keys_typed_into_the_text_stay_text(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1", answer="", ideal="")], schema=None)
        page = desk.open()
        desk.shows("s1")
        page.keyboard.press("e")
        page.keyboard.type("gfdsu1?")
        expect(page.locator("#ideal")).to_have_value("gfdsu1?")
        expect(page.locator("input[value=fix]")).to_be_checked()


class TestWhatIsRefused:
    pytestmark = browser_test

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
        self, desk_of: Callable[..., Desk], text: str | None, key: str, sentence: str
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

    def test_a_text_of_the_wrong_form_is_named_and_sent_only_on_the_second_try(
        self, desk_of: Callable[..., Desk]
    ) -> None:
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

    def test_the_servers_own_refusal_is_shown_and_the_text_stays(self, desk_of: Callable[..., Desk]) -> None:
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


class TestNothingTypedIsLost:
    pytestmark = browser_test

    def test_a_draft_survives_a_reload_also_of_an_item_further_down(self, desk_of: Callable[..., Desk]) -> None:
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

    def test_a_verdict_is_sent_again_until_the_server_has_it(self, desk_of: Callable[..., Desk]) -> None:
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

    def test_without_a_connection_the_person_may_stop_and_reload_and_finds_the_text(
        self, desk_of: Callable[..., Desk]
    ) -> None:
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

    def test_pressing_submit_many_times_sends_one_verdict(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1"), item("s2")])
        page = desk.open()
        desk.shows("s1")
        page.keyboard.press("g")
        page.evaluate("for (let i = 0; i < 5; i++) document.getElementById('work').requestSubmit()")
        desk.shows("s2")
        assert len(desk.sent) == 1


PAYLOADS = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned=1'><svg onload='window.pwned=1'>"
    "{{7*7}}${7*7}<template><script>window.pwned=1</script></template></textarea></div>"
    "<a href='javascript:window.pwned=1'>x</a><style>*{display:none}</style>"
)


class TestCapturedText:
    pytestmark = browser_test

    def test_markup_in_every_field_is_shown_as_text(self, desk_of: Callable[..., Desk]) -> None:
        hostile = item(
            "s1",
            workload=PAYLOADS,
            version=PAYLOADS,
            messages=[
                {"role": PAYLOADS, "content": PAYLOADS},
                {"role": "system", "content": PAYLOADS},
                {"role": "user", "content": [{"type": "text", "text": PAYLOADS}, {"type": PAYLOADS}]},
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": PAYLOADS}}]},
            ],
            answer=PAYLOADS,
            ideal=PAYLOADS,
            signal=PAYLOADS,
            feedback=[{"thumb": PAYLOADS, "score": PAYLOADS, "comment": PAYLOADS, "suggested_answer": PAYLOADS}],
            schema_errors=[PAYLOADS],
            served_at=PAYLOADS,
            confidence=PAYLOADS,
        )
        desk = desk_of([hostile])
        page = desk.open()
        expect(page.locator("#answer")).to_have_text(PAYLOADS)
        expect(page.locator("#signal")).to_have_text(PAYLOADS)
        expect(page.locator("#schema-errors li")).to_have_text(PAYLOADS)
        page.locator("#ideal").fill("x" + PAYLOADS)
        expect(page.locator("#diff ins").first).to_be_visible()
        assert page.evaluate("window.pwned") is None
        made = "main img, main svg, main script, main a, main style, main template, header script"
        assert page.locator(made).count() == 0
        assert desk.complaints == []

    def test_characters_that_hide_are_shown_and_counted(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1", answer="pay \u202e001 EUR\u200b", ideal="pay \u202e001 EUR\u200b")], schema=None)
        page = desk.open()
        desk.shows("s1")
        expect(page.locator("#answer .hidden-character")).to_have_text(["RLO", "ZWSP"])
        expect(page.locator("#check")).to_have_text("hidden characters: RLO, ZWSP")

    def test_text_written_from_right_to_left_is_set_so(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1", answer="שלום עולם", ideal="שלום עולם")], schema=None)
        page = desk.open()
        desk.shows("s1")
        assert page.locator("#answer").evaluate("e => getComputedStyle(e).direction") == "rtl"
        assert page.locator("#ideal").evaluate("e => getComputedStyle(e).direction") == "rtl"

    def test_a_suggestion_from_feedback_is_taken_with_one_click(self, desk_of: Callable[..., Desk]) -> None:
        told = {"thumb": "down", "score": None, "comment": "wrong queue", "suggested_answer": FIXED}
        desk = desk_of([item("s1", feedback=[told])])
        page = desk.open()
        desk.shows("s1")
        page.get_by_role("button", name="Use this text").click()
        expect(page.locator("#ideal")).to_have_value(FIXED)
        expect(page.locator("input[value=fix]")).to_be_checked()

    def test_a_long_conversation_fits_a_narrow_page(self, desk_of: Callable[..., Desk]) -> None:
        long = {"role": "user", "content": "word " * 4_000 + "x" * 3_000}
        desk = desk_of([item("s1", messages=[long], answer="y" * 5_000, ideal="y" * 5_000)], width=400)
        page = desk.open()
        expect(page.locator("#item")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.locator("#messages .text").evaluate("e => e.scrollHeight > e.clientHeight")


class TestWaiting:
    pytestmark = browser_test

    def test_a_new_item_appears_by_itself(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1")])
        page = desk.open()
        desk.shows("s1")
        page.route("**/next*", lambda route: route.fulfill(json={"item": None, "progress": PROGRESS}))
        page.keyboard.press("s")
        expect(page.locator("#empty-text")).to_contain_text("looks again by itself")
        page.unroute("**/next*")
        desk.shows("s1")

    def test_a_spent_budget_is_told(self, desk_of: Callable[..., Desk]) -> None:
        desk = desk_of([item("s1")])
        spent = {"item": None, "progress": {**PROGRESS, "done_today": 40}}
        desk.page.route("**/next*", lambda route: route.fulfill(json=spent))
        page = desk.open()
        expect(page.locator("#empty-title")).to_have_text("Done for today")


PROGRESS = {"waiting": 0, "done_today": 0, "done": 0, "budget": 40, "train": 0, "holdout": 0}


@pytest.mark.browser
@pytest.mark.slow
def test_the_diff_joins_to_both_texts_again(desk_of: Callable[..., Desk]) -> None:
    draw = random.Random(5)
    alphabet = ["a", "bc", "é", "שלום", " ", "\n", "\t", '"', "{", "1", "🙂", "\u0301"]
    pairs = [["".join(draw.choices(alphabet, k=draw.randint(0, 40))) for _ in range(2)] for _ in range(200)]
    pairs += [["x y " * 4_000, "y z " * 4_000], ["", "a"], ["a", ""], ["", ""]]
    desk = desk_of([item("s1")])
    page = desk.open()
    desk.shows("s1")
    script = """async pairs => {
      const { diff } = await import(new URL("desk.js", document.baseURI).href.replace("desk.js", "diff.js"));
      return pairs.map(([a, b]) => diff(a, b));
    }"""
    for (before, after), parts in zip(pairs, page.evaluate(script, pairs), strict=True):
        assert "".join(text for kind, text in parts if kind != "added") == before
        assert "".join(text for kind, text in parts if kind != "removed") == after
