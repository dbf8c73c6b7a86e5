"""What this installation brings along besides code: training presets and built-in bases, known by their files alone.

Nothing of training is imported. Where training is not installed the answer is None: nobody can say, names are believed.
"""

from importlib import resources
from importlib.resources.abc import Traversable

BUILTIN = "builtin:"


def presets() -> list[str] | None:
    """The names of `training/presets/*.toml`."""
    folder = _training("presets")
    if folder is None:
        return None
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def bases() -> list[str] | None:
    """`builtin:NAME` for every `training/NAME/base/`."""
    root = _training("")
    if root is None:
        return None
    return sorted(f"{BUILTIN}{folder.name}" for folder in root.iterdir() if (folder / "base").is_dir())


def items() -> list[str] | None:
    """`builtin:NAME/FILE` for every JSONL file of items that comes with a built-in base."""
    known = bases()
    if known is None:
        return None
    folders = {base: _training(f"{base.removeprefix(BUILTIN)}/base") for base in known}
    return sorted(f"{b}/{f.name}" for b, folder in folders.items() if folder for f in folder.iterdir() if _is_items(f))


def _is_items(file: Traversable) -> bool:
    return file.name.endswith(".jsonl")


def _training(inside: str) -> Traversable | None:
    try:
        folder = resources.files("training").joinpath(inside)
    except ModuleNotFoundError:
        return None
    return folder if folder.is_dir() else None
