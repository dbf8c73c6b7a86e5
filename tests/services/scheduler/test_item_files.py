"""Files of items that models name: a broken one stops the scheduler at its start, not after a training."""

import json
from pathlib import Path

import pytest

from services.scheduler.app import build_app
from services.scheduler.settings import SchedulerSettings
from shared.errors import BadConfig
from shared.settings import SharedSettings

ITEM = {"id": "1", "messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]}


def start(folder: Path, **files: str) -> None:
    (folder / "ratchet.toml").write_text(
        '[models.tiny]\npath = "builtin:tiny"\n'
        + "".join(f'{key} = "{key}.jsonl"\n' for key in files)
        + '[workloads.triage]\nbase = "tiny"\n'
    )
    for key, text in files.items():
        (folder / f"{key}.jsonl").write_text(text, "utf-8")
    build_app(SharedSettings(config=folder / "ratchet.toml", data_dir=folder), SchedulerSettings())


@pytest.mark.parametrize("key", ["general_suite", "replay"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no item; give some, or leave the key out"),
        ("\n\n", "has no item"),
        (json.dumps(ITEM) + '\n{"id": \n', "line 2: not JSON in UTF-8"),
        (json.dumps(ITEM) + "\n" + json.dumps(ITEM), "the id '1' stands there twice"),
        ('{"id": "1", "messages": []}', "line 1, example '1': 'messages' must be a list"),
        ('{"prompt": "2+2"}', "line 1: an object with a text 'id' is needed"),
    ],
)
def test_the_scheduler_does_not_start_on_a_file_of_items_that_cannot_be_used(
    tmp_path: Path, key: str, text: str, said: str
) -> None:
    with pytest.raises(BadConfig) as refused:
        start(tmp_path, **{key: text})
    message = str(refused.value)
    for part in (f"models.tiny.{key}: {tmp_path / key}.jsonl", said, 'A line of such a file is {"id": "1", "messages"'):
        assert part in message


def test_every_broken_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as refused:
        start(tmp_path, general_suite="", replay="{")
    assert "general_suite" in str(refused.value)
    assert "models.tiny.replay" in str(refused.value)


def test_files_that_can_be_used_let_it_go_on(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="ratchet migrate"):  # the next thing that is looked at: the tables
        start(tmp_path, general_suite=json.dumps(ITEM), replay=json.dumps(ITEM))
