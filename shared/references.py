"""What `ratchet.toml` refers to outside itself: files, folders, built-in names, presets, sections of its own.

`resolve` makes paths absolute (relative ones are beside the file), reads schemas, and says in a sentence each what is
not there. It looks only where the shapes are right; wrong shapes are left for validation.
"""

import difflib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from shared import installed

Table = dict[str, Any]


def resolve(raw: Table, beside: Path) -> list[str]:
    """Changes `raw` in place; the mistakes found."""
    mistakes: list[str] = []
    models, workloads = _tables(raw, "models"), _tables(raw, "workloads")
    for name, model in models.items():
        mistakes += _resolve_model(f"models.{name}", model, beside)
    for name, workload in workloads.items():
        mistakes += _resolve_workload(f"workloads.{name}", workload, beside)
    if isinstance(raw.get("models"), dict):
        bases = {name: w["base"] for name, w in workloads.items() if isinstance(w.get("base"), str)}
        mistakes += unknown_bases(bases, raw["models"])
    return mistakes


def unknown_bases(bases: dict[str, str], models: Collection[str]) -> list[str]:
    """bases: workload -> the section of [models] it names."""
    return [
        f"workloads.{name}.base is {base!r}, which is no section of [models]; {choice(base, models)}"
        for name, base in bases.items()
        if base not in models
    ]


def choice(given: str, known: Collection[str]) -> str:
    """`known: a, b`, with the one that was probably meant."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"known: {', '.join(sorted(known)) or 'none'}" + (f"; did you mean {near[0]!r}?" if near else "")


def _tables(raw: Table, key: str) -> dict[str, Table]:
    section = raw.get(key)
    return {k: v for k, v in section.items() if isinstance(v, dict)} if isinstance(section, dict) else {}


def _resolve_model(where: str, model: Table, beside: Path) -> Iterator[str]:
    for key in ("path", "general_suite", "replay"):
        given = model.get(key)
        if not isinstance(given, str):
            continue
        if given.startswith(installed.BUILTIN):
            known = installed.bases() if key == "path" else installed.items()
            if known is not None and given not in known:
                yield f"{where}.{key} is {given!r}, which does not come along; {choice(given, known)}"
        elif key == "path":
            yield from _resolve_base(f"{where}.path", model, beside)
        else:
            path = _beside(given, beside)
            if path.is_file():
                model[key] = str(path.resolve())
            else:
                wrong = "is no file" if path.exists() else "does not exist"
                yield f"{where}.{key} is {given!r}, but {path} {wrong}; give a JSONL file, or leave the key out"


def _resolve_base(where: str, model: Table, beside: Path) -> Iterator[str]:
    given = model["path"]
    path = _beside(given, beside)
    if given and path.is_dir():
        model["path"] = str(path.resolve())
    elif not given or given[0] in "./~" or given.count("/") > 1:
        wrong = "is no folder" if path.exists() else "does not exist"
        yield (
            f"{where} is {given!r}, but {path} {wrong}; give a folder with safetensors, "
            'a hub name such as "org/model", or "builtin:tiny"'
        )


def _resolve_workload(where: str, workload: Table, beside: Path) -> Iterator[str]:
    preset, known = workload.get("preset"), installed.presets()
    if isinstance(preset, str) and known is not None and preset not in known:
        yield f"{where}.preset is {preset!r}, which is no training preset; {choice(preset, known)}"
    desk = workload.get("desk")
    if isinstance(desk, dict) and isinstance(desk.get("gold"), str):
        path = _beside(desk["gold"], beside)
        if path.is_file():
            desk["gold"] = str(path.resolve())
        else:
            yield f"{where}.desk.gold is {desk['gold']!r}, but {path} is no file; give a JSONL file, or leave it out"
    schema = workload.get("answer_schema")
    if isinstance(schema, str):
        path = _beside(schema, beside)
        try:
            workload["answer_schema"] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            workload["answer_schema"] = {"type": "object"}  # stands in, so that nothing more is said about this key
            yield f"{where}.answer_schema is {schema!r}, but {path} cannot be read as JSON: {error}"


def _beside(given: str, beside: Path) -> Path:
    try:
        return beside / Path(given).expanduser()
    except RuntimeError:  # ~nobody: there is no such user
        return beside / given
