from pathlib import Path

import pytest

from shared.errors import Unusable
from training.model import resolve_base, resolve_file


def test_a_file_of_a_builtin_base_is_found_by_the_bases_name() -> None:
    assert (
        resolve_file("builtin:tiny/general_suite.jsonl") == Path(resolve_base("builtin:tiny")) / "general_suite.jsonl"
    )
    assert resolve_file("mine/suite.jsonl") == Path("mine/suite.jsonl")
    with pytest.raises(Unusable, match="builtin:huge"):
        resolve_file("builtin:huge/suite.jsonl")
