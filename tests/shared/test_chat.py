from typing import Any

import pytest

from shared.chat import ROLES, NotText, content_text, text_message, text_messages


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two\u2028"}], "one\ntwo\u2028"),
        (["one", {"type": "text", "text": ""}], "one\n"),
    ],
)
def test_text_null_and_text_parts_are_one_text(content: Any, text: str) -> None:
    assert content_text(content) == text


def test_every_role_of_a_chat_is_kept_and_nothing_but_role_and_content() -> None:
    for role in ROLES:
        message: dict[str, Any] = {"role": role, "content": None, "name": "ada", "tool_calls": []}
        assert text_message(message) == {"role": role, "content": ""}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}, "of type 'image_url'"),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, "only parts of type text"),
        ({"role": "user", "content": {"text": "hi"}}, "a list of text parts"),
        ({"role": "user", "content": 7}, "a list of text parts"),
        ({"role": "user", "content": "half \ud83d"}, "half a character at place 6"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}, "it calls tools"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "it calls tools"),
        ({"role": "critic", "content": "x"}, "its role is 'critic'"),
        ({"role": ["user"], "content": "x"}, "its role is"),
        ({"content": "x"}, "its role is None"),
        ("hello", "an object with role and content"),
    ],
)
def test_what_is_not_text_is_said(message: Any, why: str) -> None:
    with pytest.raises(NotText, match=r"^message 2 cannot be rendered as text: ") as refused:
        text_messages([{"role": "user", "content": "hi"}, message])
    assert why in str(refused.value)
