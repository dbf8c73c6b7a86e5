"""Files of examples: what is read as it was written, and what is refused with the example's name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unusable
from training.examples import read_items

ANSWER = {"role": "assistant", "content": "power"}


def line(example_id: str = "e1", *messages: Any) -> str:
    turns = [*(messages or ({"role": "user", "content": "hi"},)), ANSWER]
    return json.dumps({"id": example_id, "group": "g", "messages": turns}, ensure_ascii=False)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_bytes("\n".join(line(f"e{n}", {"role": "user", "content": text}) for n in (1, 2)).encode())
    assert [item.prompt for item in read_items(file)] == [[{"role": "user", "content": text}]] * 2


def test_characters_that_look_like_an_end_of_line_end_no_line(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei"
    (tmp_path / "x.jsonl").write_bytes(f"{line('e1', {'role': 'user', 'content': text})}\r\n\n{line('e2')}\n".encode())
    first, second = read_items(tmp_path / "x.jsonl")
    assert (first.prompt[0]["content"], second.id) == (text, "e2")


def test_every_role_null_and_text_parts_are_taken(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "Be exact."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "3", "tool_call_id": "c"},
    ]
    (tmp_path / "x.jsonl").write_text(line("e1", *messages))
    [item] = read_items(tmp_path / "x.jsonl")
    assert [m["content"] for m in item.prompt] == ["Be exact.", "one\ntwo", "", "3"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b'{"id": "e1"', "line 2: not JSON in UTF-8"),
        (b"\xff\xfe", "line 2: not JSON in UTF-8"),
        (b"[" * 100_000, "line 2: not JSON in UTF-8"),
        (b"[]", "line 2: an object with a text 'id'"),
        (b'{"id": "e1", "messages": []}', "line 2, example 'e1': 'messages' must be"),
        (line("e1", {"role": "critic", "content": "x"}).encode(), "example 'e1': message 1 cannot be rendered as text"),
        (line("e1", {"role": "user", "content": [{"type": "image_url"}]}).encode(), "of type 'image_url'"),
        (line("e1", "hi").encode(), "an object with role and content; mend or remove the line"),
        (b'{"id": "e1", "messages": [{"role": "user", "content": "\\ud83d"}, {}]}', "not valid Unicode"),
        (line("e1").replace("power", " ").encode(), "example 'e1': the last message must be the assistant's answer"),
        (line("e0").encode(), "the id 'e0' stands there twice"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, written: bytes, says: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(line("e0").encode() + b"\n" + written + b"\n")
    with pytest.raises(Unusable) as refused:
        read_items(tmp_path / "x.jsonl")
    assert says in str(refused.value)
    assert "x.jsonl" in str(refused.value)
