import re
from pathlib import Path

import pytest

from infra.native.settings import StackSettings
from shared.errors import BadConfig

DOCS = Path(__file__).parents[3] / "docs" / "stack.md"


def test_two_servers_on_one_port_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_STACK_REDIS_PORT", "19092")
    with pytest.raises(BadConfig, match="kafka_port and redis_port are both 19092"):
        StackSettings.load()


@pytest.mark.parametrize("port", ["0", "70000", "a word"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("RATCHET_STACK_KAFKA_PORT", port)
    with pytest.raises(BadConfig, match=r"(?i)kafka_port"):
        StackSettings.load()


def test_every_setting_is_explained_on_the_stacks_page() -> None:
    explained = set(re.findall(r"`RATCHET_STACK_([A-Z_]+)`", DOCS.read_text("utf-8")))
    assert explained == {name.upper() for name in StackSettings.model_fields}


def test_settings_written_as_words_are_read_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    written = StackSettings.load().as_words()
    for name, word in written.items():
        monkeypatch.setenv(f"RATCHET_STACK_{name.upper()}", word)
    assert StackSettings.load().as_words() == written
