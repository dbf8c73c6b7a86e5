from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model_server.text import GrowingText


def of_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def written(
    text: str, stops: Sequence[str] = (), prompt: bytes = b"", keep_stop: bool = False
) -> tuple[list[str], str | None]:
    growing = GrowingText(of_bytes, list(prompt), stops, keep_stop)
    shown = []
    for token in text.encode():
        piece, stop = growing.push(token)
        shown.append(piece)
        if stop is not None:
            return shown, stop
    return [*shown, growing.finish()], None


def test_half_a_character_is_never_shown() -> None:
    pieces, _ = written("aß😀z")
    assert pieces == ["a", "", "ß", "", "", "", "😀", "z", ""]


@given(st.text(), st.text())
def test_the_pieces_make_the_text(prompt: str, text: str) -> None:
    whole = text.rstrip("\ufffd")  # at the end it cannot be told from half a character
    assert "".join(written(whole, prompt=prompt.encode())[0]) == whole


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_nothing_from_a_stop_string_on_is_shown(text: str, stops: list[str]) -> None:
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    pieces, stop = written(text, stops)
    shown = "".join(pieces)
    if not ends:
        assert (shown, stop) == (text, None)
        return
    assert stop is not None
    assert text.startswith(shown + stop)
    assert len(shown + stop) == min(ends)  # it ends with the token that completes the first of them


def test_what_could_become_a_stop_string_is_held_back_until_it_cannot() -> None:
    assert written("one</b>two", stops=["</a>"])[0] == [*"one", "", "", "</b", *">two", ""]


def test_a_stop_string_is_kept_when_asked_for() -> None:
    assert "".join(written("one. two", ["."], keep_stop=True)[0]) == "one."


def test_what_was_held_back_comes_at_the_end() -> None:
    assert "".join(written("one<", stops=["</a>"])[0]) == "one<"


@pytest.mark.parametrize(("prompt", "expected"), [([1], " there"), ([], "there")])
def test_a_first_space_is_kept_where_the_tokenizer_writes_it_only_between_words(
    prompt: list[int], expected: str
) -> None:
    words = {1: "hello", 2: "there"}
    growing = GrowingText(lambda tokens: " ".join(words[t] for t in tokens), prompt)
    assert growing.push(2) == (expected, None)
