"""The training presets this installation has: files of `training/presets/`, known here by name and hash only."""

import hashlib
from importlib import resources


def known_presets() -> dict[str, str]:
    """Name -> SHA-256 of the preset's file."""
    folder = resources.files("training") / "presets"
    if not folder.is_dir():
        return {}
    files = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    return {file.name.removesuffix(".toml"): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
