from pathlib import Path

import pytest

from shared import installed
from shared.errors import Unusable
from training.model import BUILTIN, resolve_base, resolve_file
from training.preset import FOLDER


def test_a_file_of_a_builtin_base_is_found_by_the_bases_name() -> None:
    assert (
        resolve_file("builtin:tiny/general_suite.jsonl") == Path(resolve_base("builtin:tiny")) / "general_suite.jsonl"
    )
    assert resolve_file("mine/suite.jsonl") == Path("mine/suite.jsonl")
    with pytest.raises(Unusable, match="builtin:huge"):
        resolve_file("builtin:huge/suite.jsonl")


def test_what_a_deployment_may_name_is_what_training_finds() -> None:
    assert installed.bases() == sorted(BUILTIN)
    assert installed.presets() == sorted(file.stem for file in FOLDER.glob("*.toml"))
    for name in installed.items() or ():
        assert resolve_file(name).is_file()
