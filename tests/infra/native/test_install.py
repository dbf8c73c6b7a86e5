import os
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.native.install import PARTIAL, STAMP, Installer, NotInstalled, folder_of, pom
from infra.native.versions import AptPackage, Versions, versions


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script in front of everything else on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def installer(folder: Path, artifacts: tuple[str, ...] = ("org.example:thing:1.0",), command: str = "sh") -> Installer:
    apt = {"thing": AptPackage("thing-package", "1.", command)}
    pinned = Versions(apt=apt, maven={"thing": artifacts}, maven_plugin="p:p:1", python={})
    return Installer(folder, said.append, pinned)


said: list[str] = []
FETCHES = (
    'for w in "$@"; do case "$w" in -DoutputDirectory=*) mkdir -p "${w#*=}"; echo jar > "${w#*=}/a.jar";; esac; done'
)


def test_what_is_there_is_not_fetched_again(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("mvn", f"echo once >> {tmp_path}/calls\n{FETCHES}")
    first = installer(tmp_path / "servers").maven("thing")
    assert installer(tmp_path / "servers").maven("thing") == first
    assert (first / "libs" / "a.jar").exists()
    assert (tmp_path / "calls").read_text() == "once\n"


def test_another_version_lies_beside_the_old_one(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("mvn", FETCHES)
    old = installer(tmp_path / "servers").maven("thing")
    new = installer(tmp_path / "servers", ("org.example:thing:1.1",)).maven("thing")
    assert old != new
    assert (old / STAMP).exists()


def test_a_failed_fetch_leaves_nothing_that_counts_and_the_next_one_mends_it(
    tmp_path: Path, path: Callable[[str, str], None]
) -> None:
    servers = tmp_path / "servers"
    path("mvn", f"{FETCHES}\necho 'no route to host'; exit 1")
    with pytest.raises(NotInstalled, match=r"no route to host\n.*`ratchet stack up` goes on"):
        installer(servers).maven("thing")
    path("mvn", FETCHES)
    assert (installer(servers).maven("thing") / STAMP).exists()
    assert not list(servers.glob(f"{PARTIAL}*"))


def test_a_folder_without_its_stamp_is_made_again(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("mvn", FETCHES)
    half = folder_of(tmp_path, "thing", ("org.example:thing:1.0",))
    half.mkdir()
    (half / "rubbish").touch()
    whole = installer(tmp_path).maven("thing")
    assert whole == half
    assert not (whole / "rubbish").exists()


def test_two_at_once_fetch_once(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("mvn", f"echo once >> {tmp_path}/calls\n{FETCHES}")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(installer(tmp_path / "s").maven("thing"))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 2
    assert found[0] == found[1]
    assert (tmp_path / "calls").read_text() == "once\n"


def test_a_broken_archive_is_named(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("mvn", FETCHES.replace("a.jar", "thing.zip"))
    with pytest.raises(NotInstalled, match=r"thing\.zip arrived broken"):
        installer(tmp_path / "servers").maven("thing")


def test_a_missing_package_says_what_to_run_where_we_are_not_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotInstalled, match="sudo apt-get install --no-install-recommends thing-package"):
        installer(tmp_path, command="no-such-command").apt("thing")


def test_an_old_package_list_is_fetched_anew(tmp_path: Path, path: Callable[[str, str], None]) -> None:
    path("apt-get", f'case "$*" in *update*) touch {tmp_path}/fresh;; *) test -e {tmp_path}/fresh || exit 100;; esac')
    with pytest.raises(NotInstalled, match="thing-package is installed, but has no no-such-command"):
        installer(tmp_path, command="no-such-command").apt("thing")
    assert (tmp_path / "fresh").exists()


def test_a_zip_comes_alone_and_a_jar_with_what_it_needs() -> None:
    space = "{http://maven.apache.org/POM/4.0.0}"
    jar, archive = ElementTree.fromstring(pom(["a:b:1", "c:d:2:zip"])).iter(f"{space}dependency")
    assert jar.find(f"{space}exclusions") is None
    assert archive.findtext(f"{space}type") == "zip"
    assert archive.find(f"{space}exclusions") is not None


def test_every_pin_names_one_version() -> None:
    pinned = versions()
    assert all(len(a.split(":")) in (3, 4) for artifacts in pinned.maven.values() for a in artifacts)
    assert all("==" in p for packages in pinned.python.values() for p in packages)
    assert "://" not in (Path(folder_of.__code__.co_filename).parents[1] / "versions.toml").read_text("utf-8")
