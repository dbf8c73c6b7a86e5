from pathlib import Path

import pytest

from shared.errors import Unusable
from training.preset import FOLDER, read_preset


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_preset_of_the_folder_can_be_used(name: str) -> None:
    assert read_preset(name).r >= 1


def test_the_careless_preset_replays_nothing() -> None:
    assert read_preset("careless").replay_share == 0
    assert read_preset("default").replay_share > 0


def test_a_value_can_be_changed_by_hand() -> None:
    changed = read_preset("default", ["epochs=3", "learning_rate=1e-4"])
    assert (changed.epochs, changed.learning_rate) == (3, 1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("epochs", "give key=value"),
        ("speed=3", "with a key of"),
        ("epochs=many", "is not a number"),
        ("epochs=2.5", "must be a whole number"),
        ("epochs=0", "is out of range; from 1 to 1000"),
        ("learning_rate=nan", "is out of range"),
    ],
)
def test_a_wrong_change_is_refused_with_what_would_be_right(change: str, sentence: str) -> None:
    with pytest.raises(Unusable, match=sentence):
        read_preset("default", [change])


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Unusable, match="known: careful, careless, default"):
        read_preset("fast")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("r = [", "is not TOML"), ("speed = 1\n", "unknown key 'speed'"), ("r = 8\n", "is missing")],
)
def test_a_wrong_preset_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(Unusable, match=sentence):
        read_preset(str(file))


def test_a_narrow_model_gets_a_higher_learning_rate() -> None:
    preset = read_preset("default")
    assert preset.learning_rate_for(2048) == pytest.approx(preset.learning_rate)
    assert preset.learning_rate_for(256) > preset.learning_rate_for(4096)
