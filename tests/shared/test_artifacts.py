"""Artifact folders: whole, or not there at all."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import artifacts
from shared.artifacts import MANIFEST, is_valid, path_of, read_manifest, sha256_of_files, uri_of, verify, writing
from shared.errors import ArtifactInvalid, Unavailable


def write(folder: Path, content: str = "hello") -> None:
    facts: dict[str, object] = {"base": "tiny"}
    with writing(folder, "run", facts) as draft:
        (draft / "adapter").mkdir()
        (draft / "adapter" / "weights.bin").write_text(content)
        (draft / "metrics.jsonl").write_text("{}\n")
        facts["steps"] = 7


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


def test_a_folder_verifies_and_tells_its_facts(tmp_path: Path) -> None:
    write(tmp_path / "run")
    manifest = verify(tmp_path / "run", "run")
    assert (manifest["kind"], manifest["base"], manifest["steps"]) == ("run", "tiny", 7)
    assert set(manifest["files"]) == {"adapter/weights.bin", "metrics.jsonl"}
    assert leftovers(tmp_path) == []


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing(tmp_path / "run", "run", {}) as draft:
        raise KeyError(f"a bug, after {(draft / 'half').write_text('half')} characters")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="free some space"), writing(tmp_path / "run", "run", {}):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


FILLING = """
import resource, signal, sys
from pathlib import Path
from shared.artifacts import writing
from shared.errors import Unavailable

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with writing(Path(sys.argv[1]), "run", {}) as draft:
        (draft / "weights").write_bytes(b"x" * 1_000_000)
except Unavailable as error:
    print(error)
"""


def test_the_kernel_refusing_a_write_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLING, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert "free some space" in done.stdout
    assert list(tmp_path.iterdir()) == []


DYING = """
import os, signal, sys
from pathlib import Path
from shared.artifacts import writing

with writing(Path(sys.argv[1]), "run", {}) as draft:
    (draft / "weights").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DYING, str(tmp_path / "run")]
    assert subprocess.run(command, check=False, env={**os.environ}).returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    assert not is_valid(leftovers(tmp_path)[0])
    write(tmp_path / "run")
    assert is_valid(tmp_path / "run")


def test_writing_twice_keeps_the_first(tmp_path: Path) -> None:
    write(tmp_path / "run", "first")
    write(tmp_path / "run", "second")
    assert (tmp_path / "run" / "adapter" / "weights.bin").read_text() == "first"
    assert leftovers(tmp_path) == []


def test_an_invalid_folder_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "run", "first")
    (tmp_path / "run" / "adapter" / "weights.bin").write_text("rotten")
    write(tmp_path / "run", "second")
    assert (tmp_path / "run" / "adapter" / "weights.bin").read_text() == "second"
    assert is_valid(tmp_path / "run", "run")


def test_another_process_that_was_first_wins(tmp_path: Path) -> None:
    with writing(tmp_path / "run", "run", {}) as draft:
        (draft / "a").write_text("late")
        write(tmp_path / "run", "early")
    assert (tmp_path / "run" / "adapter" / "weights.bin").read_text() == "early"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / MANIFEST).unlink(), "never finished"),
        (lambda f: (f / MANIFEST).write_text('{"kind": "run", "fil'), "cannot be read"),
        (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda f: (f / MANIFEST).write_text("[" * 100_000), "cannot be read"),
        (lambda f: (f / MANIFEST).write_text("[]"), "is not a manifest"),
        (lambda f: (f / MANIFEST).write_text('{"kind": "run"}'), "is not a manifest"),
        (lambda f: (f / MANIFEST).write_text('{"kind": "run", "files": {"a": 1}}'), "is not that of a file"),
        (lambda f: (f / MANIFEST).write_text('{"kind": "run", "files": {"a": {}}}'), "is not that of a file"),
        (lambda f: (f / "metrics.jsonl").unlink(), "named in the manifest but missing"),
        (lambda f: (f / "metrics.jsonl").write_text("[]\n"), "is not the file the manifest describes"),
        (lambda f: (f / "metrics.jsonl").write_text("longer than it was\n"), "is not the file the manifest describes"),
    ],
)
def test_a_folder_that_does_not_verify_does_not_exist(tmp_path: Path, damage: object, said: str) -> None:
    write(tmp_path / "run")
    damage(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(ArtifactInvalid, match=said):
        verify(tmp_path / "run")
    assert not is_valid(tmp_path / "run")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_a_manifest_cannot_name_what_is_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "run").mkdir()
    entry = {"bytes": 6, "sha256": artifacts.sha256_of(tmp_path / "outside")}
    (tmp_path / "run" / MANIFEST).write_text(json.dumps({"kind": "run", "files": {name: entry}}))
    with pytest.raises(ArtifactInvalid, match="not that of a file in the folder"):
        verify(tmp_path / "run")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run")
    with pytest.raises(ArtifactInvalid, match="holds a run, not a snapshot"):
        verify(tmp_path / "run", "snapshot")


def test_the_hash_of_a_set_of_files_depends_on_names_and_contents_and_not_on_order(tmp_path: Path) -> None:
    write(tmp_path / "run")
    files = read_manifest(tmp_path / "run")["files"]
    turned = dict(reversed(files.items()))
    renamed = {f"{name}x": entry for name, entry in files.items()}
    assert sha256_of_files(files) == sha256_of_files(turned) != sha256_of_files(renamed)


@pytest.mark.parametrize("name", ["run", "with space", "ünï", "a#b?c%20"])
def test_a_uri_leads_back_to_its_folder(tmp_path: Path, name: str) -> None:
    assert path_of(uri_of(tmp_path / name)) == tmp_path / name


def test_plain_paths_are_taken_and_other_schemes_refused(tmp_path: Path) -> None:
    assert path_of(str(tmp_path)) == tmp_path
    with pytest.raises(ArtifactInvalid, match="only file: URIs"):
        path_of("s3://bucket/run")
