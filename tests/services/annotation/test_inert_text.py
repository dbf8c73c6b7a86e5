import html
import re

from hypothesis import given
from hypothesis import strategies as st

from services.annotation.inert_text import inert

PAYLOADS = [
    "<script>alert(1)</script>",
    "![x](http://127.0.0.1/a.png)",
    "[x](javascript:alert(1))",
    "http://example.org www.example.org a@example.org",
    "{{7*7}} ${7*7} {% raw %} <%= 7*7 %>",
    "# heading\n> quote\n- list\n1. list\n```\ncode\n```\n---\n| a | b |\n    indented",
    "&lt;b&gt; &#60;script&#62; \\<b\\>",
]


def seen(markdown: str) -> str:
    """What a browser shows of it: entities as characters, hard breaks as lines."""
    return html.unescape(markdown.replace("  \n", "\n")).replace("\N{NO-BREAK SPACE}", " ")


def test_no_mark_is_left_that_could_be_markup() -> None:
    for payload in PAYLOADS:
        left = re.sub(r"&#\d+;", "", inert(payload, 10_000))
        assert not re.search(r"[^\w\s]", left), payload
        assert seen(inert(payload, 10_000)) == payload.replace("\t", "    ")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n")))
def test_what_is_seen_is_the_text(text: str) -> None:
    shown = inert(text, 10_000)
    assert not set(re.sub(r"&#\d+;", "", shown)) & set("<>[]()!`*_#{}$&\\|~=+-.:/@\"'")
    lines = text.replace("\N{NO-BREAK SPACE}", " ").split("\n")
    assert seen(shown).split("\n") == [line or " " for line in lines]
    for line in shown.split("  \n"):
        assert line, "an empty line would end the paragraph"
        assert not line.startswith(" "), "an indented line would be code"


def test_long_text_is_cut_with_a_note() -> None:
    assert inert("x" * 30, 10) == "x" * 10 + "  \n*(20 more characters are not shown here)*"


def test_control_characters_are_replaced() -> None:
    assert inert("a\x00b\x1b[2Jc", 100) == "a\ufffdb\ufffd&#91;2Jc"
