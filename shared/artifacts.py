"""Folders that are either whole or do not exist: snapshots, runs, checkpoints, evaluations.

A folder is written under a temporary name, every file flushed to disk, `manifest.json` with each file's SHA-256 last,
then renamed. A crash at any point leaves a temporary folder that nobody reads. A folder whose manifest is missing or
does not verify does not exist (ArtifactInvalid). Standard library only: training runs on bare machines.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from shared.errors import ArtifactInvalid, Unavailable

MANIFEST = "manifest.json"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def writing(final: Path, kind: str, facts: dict[str, Any]) -> Iterator[Path]:
    """A temporary folder to fill; on a clean exit it becomes `final` with a manifest, on an error it is removed.

    A full disk is Unavailable.
    facts: JSON-serialisable; may be filled inside the block, it is read when the block ends.
    Twice: a valid folder that is already there is kept and the new one is dropped; an invalid one is replaced.
    """
    draft = final.parent / f".{final.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        draft.mkdir(parents=True)
        yield draft
        _seal(draft, kind, facts)
        _publish(draft, final)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise Unavailable(f"{final} cannot be written: {error}; free some space and try again") from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def verify(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The manifest, after every file's size and SHA-256 were compared with it; else ArtifactInvalid."""
    manifest = read_manifest(folder)
    if kind is not None and manifest["kind"] != kind:
        raise ArtifactInvalid(f"{folder} holds a {manifest['kind']}, not a {kind}")
    for name, entry in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ArtifactInvalid(f"{file} is named in the manifest but missing; the folder cannot be used")
        if file.stat().st_size != entry["bytes"] or sha256_of(file) != entry["sha256"]:
            raise ArtifactInvalid(f"{file} is not the file the manifest describes; the folder cannot be used")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone, its form checked but not the files; else ArtifactInvalid."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactInvalid(f"{folder} has no {MANIFEST}: it was never finished") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ArtifactInvalid(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict) or "kind" not in manifest:
        raise ArtifactInvalid(f"{path} is not a manifest: it needs 'kind' and 'files'")
    for name, entry in manifest["files"].items():
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if not (inside and isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys()):
            raise ArtifactInvalid(
                f"{path} is not a manifest: its entry for {name!r} is not that of a file in the folder"
            )
    return manifest


def is_valid(folder: Path, kind: str | None = None) -> bool:
    try:
        verify(folder, kind)
    except ArtifactInvalid:
        return False
    return True


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_files(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """One hash for a set of manifest entries: their names and hashes, in the order of names."""
    lines = "".join(f"{name}\0{entries[name]['sha256']}\n" for name in sorted(entries))
    return hashlib.sha256(lines.encode()).hexdigest()


def uri_of(folder: Path) -> str:
    return folder.resolve().as_uri()


def path_of(uri: str) -> Path:
    """The local folder of a `file:` URI or a plain path; ArtifactInvalid for any other scheme."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    if parsed.scheme == "":
        return Path(uri)
    raise ArtifactInvalid(f"{uri}: only file: URIs and plain paths are read here")


def _seal(draft: Path, kind: str, facts: dict[str, Any]) -> None:
    files: dict[str, dict[str, Any]] = {}
    for file in sorted(p for p in draft.rglob("*") if p.is_file()):
        _fsync(file)
        files[file.relative_to(draft).as_posix()] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    manifest = draft / MANIFEST
    manifest.write_text(json.dumps({"kind": kind, **facts, "files": files}, indent=1, sort_keys=True) + "\n")
    _fsync(manifest)
    for folder in (draft, *(p for p in draft.rglob("*") if p.is_dir())):
        _fsync(folder)


def _publish(draft: Path, final: Path) -> None:
    if final.exists():
        if is_valid(final):
            return
        shutil.rmtree(final)
    try:
        draft.rename(final)
    except OSError:
        if not is_valid(final):  # valid: another process was first
            raise
    _fsync(final.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
