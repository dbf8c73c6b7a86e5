"""How a candidate is trained, as one TOML file of `training/presets/` (or any path), with `--set key=value` on top.

Fails: Unusable, naming the key, the value and what would be right.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from shared.errors import Unusable

FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True, slots=True)
class Preset:
    """The words are LoRA's where LoRA has one. Each number's range is checked in `_RANGES`."""

    r: int
    alpha: int
    dropout: float
    learning_rate: float  # for a model of width 2048; see `learning_rate_for`
    width_exponent: float
    weight_decay: float
    warmup_share: float  # of all steps
    clip: float  # the largest gradient norm
    epochs: int
    batch_examples: int  # examples of one step; packing never raises it
    replay_share: float  # general items replayed for each example, drawn anew every epoch
    dev_share: float  # groups of the snapshot kept aside to watch the loss; 0 below 50 examples
    pack_tokens: int  # length of a packed row
    pass_tokens: int  # most tokens of one forward pass; a step is cut into as many passes as it needs
    checkpoint_every_steps: int

    def learning_rate_for(self, width: int) -> float:
        """The best LoRA rate falls with the model's width by a power law (tinker-cookbook, `hyperparam_utils`)."""
        return self.learning_rate * float((2048 / width) ** self.width_exponent)


_RANGES: dict[str, tuple[float, float]] = {
    "r": (1, 256),
    "alpha": (1, 1024),
    "dropout": (0, 0.9),
    "learning_rate": (0, 1),
    "width_exponent": (0, 2),
    "weight_decay": (0, 1),
    "warmup_share": (0, 1),
    "clip": (1e-6, 1e6),
    "epochs": (1, 1000),
    "batch_examples": (1, 4096),
    "replay_share": (0, 100),
    "dev_share": (0, 0.5),
    "pack_tokens": (16, 1 << 20),
    "pass_tokens": (16, 1 << 24),
    "checkpoint_every_steps": (1, 1 << 30),
}


def read_preset(name: str, changes: Sequence[str] = ()) -> Preset:
    """name: of a file in `training/presets/`, or the path of a TOML file. changes: "key=value" texts."""
    file = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.toml")))
        raise Unusable(f"there is no preset {name!r}; known: {known}, or give the path of a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"{file} is not TOML: {error}") from None
    known_keys = {field.name for field in fields(Preset)}
    if strange := sorted(set(table) - known_keys):
        raise Unusable(f"{file}: unknown key {strange[0]!r}; known keys: {', '.join(sorted(known_keys))}")
    if missing := sorted(known_keys - set(table)):
        raise Unusable(f"{file}: the key {missing[0]!r} is missing")
    values: dict[str, Any] = {key: _checked(key, value, str(file)) for key, value in table.items()}
    preset = Preset(**values)
    return replace(preset, **dict(_change(text, known_keys) for text in changes))


def _change(text: str, known_keys: set[str]) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or key not in known_keys:
        raise Unusable(f"--set {text}: give key=value, with a key of {', '.join(sorted(known_keys))}")
    try:
        number = float(value)
    except ValueError:
        raise Unusable(f"--set {text}: {value!r} is not a number") from None
    return key, _checked(key, int(number) if number.is_integer() else number, "--set")


def _checked(key: str, value: Any, where: str) -> int | float:
    low, high = _RANGES[key]
    whole = next(field.type for field in fields(Preset) if field.name == key) is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise Unusable(f"{where}: {key} = {value!r} must be a {'whole ' if whole else ''}number")
    if not low <= value <= high:
        raise Unusable(f"{where}: {key} = {value} is out of range; from {low:g} to {high:g} would be right")
    return value if whole else float(value)
