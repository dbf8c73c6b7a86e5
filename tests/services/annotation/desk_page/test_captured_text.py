"""Captured text is shown as text, whatever it holds."""

import random
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.services.annotation.desk_page.screen import FIXED, PAGE, Desk, item

PAYLOADS = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned=1'><svg onload='window.pwned=1'>"
    "{{7*7}}${7*7}<template><script>window.pwned=1</script></template></textarea></div>"
    "<a href='javascript:window.pwned=1'>x</a><style>*{display:none}</style>"
)


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


@pytest.mark.browser
@pytest.mark.slow
def test_markup_in_every_field_is_shown_as_text(desk_of: Callable[..., Desk]) -> None:
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


@pytest.mark.browser
@pytest.mark.slow
def test_characters_that_hide_are_shown_and_counted(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1", answer="pay \u202e001 EUR\u200b", ideal="pay \u202e001 EUR\u200b")], schema=None)
    page = desk.open()
    desk.shows("s1")
    expect(page.locator("#answer .hidden-character")).to_have_text(["RLO", "ZWSP"])
    expect(page.locator("#check")).to_have_text("hidden characters: RLO, ZWSP")


@pytest.mark.browser
@pytest.mark.slow
def test_text_written_from_right_to_left_is_set_so(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of([item("s1", answer="שלום עולם", ideal="שלום עולם")], schema=None)
    page = desk.open()
    desk.shows("s1")
    assert page.locator("#answer").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.locator("#ideal").evaluate("e => getComputedStyle(e).direction") == "rtl"


@pytest.mark.browser
@pytest.mark.slow
def test_a_suggestion_from_feedback_is_taken_with_one_click(desk_of: Callable[..., Desk]) -> None:
    told = {"thumb": "down", "score": None, "comment": "wrong queue", "suggested_answer": FIXED}
    desk = desk_of([item("s1", feedback=[told])])
    page = desk.open()
    desk.shows("s1")
    page.get_by_role("button", name="Use this text").click()
    expect(page.locator("#ideal")).to_have_value(FIXED)
    expect(page.locator("input[value=fix]")).to_be_checked()


@pytest.mark.browser
@pytest.mark.slow
def test_a_long_conversation_fits_a_narrow_page(desk_of: Callable[..., Desk]) -> None:
    long = {"role": "user", "content": "word " * 4_000 + "x" * 3_000}
    desk = desk_of([item("s1", messages=[long], answer="y" * 5_000, ideal="y" * 5_000)], width=400)
    page = desk.open()
    expect(page.locator("#item")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("#messages .text").evaluate("e => e.scrollHeight > e.clientHeight")


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
