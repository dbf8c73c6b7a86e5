import pytest

from shared import json_text


def test_it_reads_what_json_is() -> None:
    assert json_text.parse(' {"a": [1, null, "x"]}') == {"a": [1, None, "x"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "Expecting"), ("NaN", "NaN is not JSON"), ("[-Infinity]", "not JSON"), ('{"a": {"b": 1, "b": 1}}', "'b'")],
)
def test_what_two_readers_could_read_differently_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        json_text.parse(text)
