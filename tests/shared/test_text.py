"""What passes as text can be encoded and stored; what cannot is refused in words."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from shared.text import Text, objection


class Body(BaseModel):
    comment: Text | None = Field(None, max_length=100)


@pytest.mark.parametrize(
    "text", ["", "plain", "emoji 😀", "line\nbreak\ttab", "\u2028", "\x1b[0m", "\\u0000", "\\ud800"]
)
def test_any_encodable_text_without_nul_passes_unchanged(text: str) -> None:
    assert Body(comment=text).comment == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ab\0", "a NUL character at character 3"),
        ("\ud800", "half a surrogate pair at character 1 (\\ud800)"),
        ("x\udfff", "half a surrogate pair at character 2 (\\udfff)"),
    ],
)
def test_nul_and_half_a_surrogate_are_refused_in_a_sentence_that_can_be_sent(text: str, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Body(comment=text)
    (error,) = refused.value.errors()
    assert why in error["msg"]
    assert error["msg"].encode("utf-8")
    assert objection(text) is not None
