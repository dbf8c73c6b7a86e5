"""Getting what is missing: Debian packages, Maven artifacts, environments with Python packages.

Twice:  what is there is left alone; a changed pin in `infra/versions.toml` is installed beside the old one.
Killed: a folder is made under another name and renamed when whole, so half an installation is never used; leftovers
        are removed by the next one. Two installations at once wait for each other.
Fails:  NotInstalled, with the command, the end of what it said, and what to do.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

from infra.native.versions import AptPackage, Versions, versions
from shared.errors import Unavailable

PARTIAL = ".partial-"
STAMP = "installed"
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-y", "-qq", "--no-install-recommends")

Say = Callable[[str], None]


class NotInstalled(Unavailable):
    """Something could not be fetched or put in place; the text says which command failed and what to try."""


class Installer:
    def __init__(self, folder: Path, say: Say, pinned: Versions | None = None) -> None:
        self._folder = folder
        self._say = say
        self._pinned = pinned or versions()

    def apt(self, name: str) -> None:
        wanted = self._pinned.apt[name]
        if shutil.which(wanted.command):
            return
        self._say(f"installing {wanted.package} {wanted.version}... by apt-get")
        if os.geteuid() != 0:
            raise NotInstalled(
                f"{wanted.command} is missing and installing it needs root: "
                f"sudo apt-get install --no-install-recommends {wanted.package}"
            )
        _apt_get(wanted)
        if not shutil.which(wanted.command):
            raise NotInstalled(
                f"{wanted.package} is installed, but has no {wanted.command}; it was tried with version "
                f"{wanted.version}... (infra/versions.toml)"
            )

    def maven(self, name: str, then: Callable[[Path], None] | None = None) -> Path:
        """A folder with the list's jars in `libs` and its zips in `zips`; `then` makes of them what it needs."""
        artifacts = self._pinned.maven[name]

        def make(folder: Path) -> None:
            self._maven_into(folder, artifacts)
            if then:
                then(folder)

        return self._once(name, artifacts, make)

    def python(self, name: str) -> Path:
        """The interpreter of an environment that holds exactly the pinned packages."""
        packages = self._pinned.python[name]
        return (
            self._once(name, python_pins(name, self._pinned), lambda folder: self._python_into(folder, packages))
            / "environment/bin/python"
        )

    def _once(self, name: str, what: Sequence[str], make: Callable[[Path], None]) -> Path:
        folder = folder_of(self._folder, name, what)
        if (folder / STAMP).exists():
            return folder
        with _locked(self._folder):
            if (folder / STAMP).exists():
                return folder
            for leftover in (folder, *self._folder.glob(f"{PARTIAL}{name}-*")):
                shutil.rmtree(leftover, ignore_errors=True)
            partial = self._folder / f"{PARTIAL}{folder.name}"
            partial.mkdir(parents=True)
            make(partial)
            (partial / STAMP).write_text("\n".join(what) + "\n", "utf-8")
            _readable_for_all(partial)
            partial.rename(folder)
        return folder

    def _maven_into(self, folder: Path, artifacts: Sequence[str]) -> None:
        self._say(f"fetching {', '.join(a.split(':')[1] + ' ' + a.split(':')[2] for a in artifacts)} by Maven")
        (folder / "pom.xml").write_text(pom(artifacts), "utf-8")
        libs = folder / "libs"
        goal = f"{self._pinned.maven_plugin}:copy-dependencies"
        run(["mvn", "-q", "-B", "-f", folder / "pom.xml", goal, f"-DoutputDirectory={libs}"], attempts=2)
        for archive in sorted(libs.glob("*.zip")):
            (folder / "zips").mkdir(exist_ok=True)
            _check_zip(archive)
            archive.rename(folder / "zips" / archive.name)

    def _python_into(self, folder: Path, packages: Sequence[str]) -> None:
        self._say(f"making an environment with {packages[0]} and {len(packages) - 1} more packages")
        (folder / "requirements.txt").write_text("\n".join(packages) + "\n", "utf-8")
        environment = folder / "environment"
        uv = _uv()
        run([uv, "venv", "-q", "--python", sys.executable, environment])
        python = environment / "bin/python"
        run(
            [uv, "pip", "install", "-q", "--python", python, "--no-deps", "-r", folder / "requirements.txt"], attempts=2
        )


def folder_of(root: Path, name: str, what: Sequence[str]) -> Path:
    """A folder a set of pins: another version never lands on top of an old one."""
    return root / f"{name}-{hashlib.sha256(chr(10).join(what).encode()).hexdigest()[:12]}"


def python_pins(name: str, pinned: Versions | None = None) -> tuple[str, ...]:
    """What an environment's folder is named by: its packages, and the Python it was made for."""
    return (*(pinned or versions()).python[name], f"python{sys.version_info.major}.{sys.version_info.minor}")


def pom(artifacts: Sequence[str]) -> str:
    """A project that depends on the artifacts; a zip comes alone, a jar with what it needs at run time."""
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>ratchet</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{''.join(map(_dependency, artifacts))}</dependencies></project>\n"
    )


def _dependency(artifact: str) -> str:
    group, name, version, *kind = artifact.split(":")
    parts = (
        f"<groupId>{escape(group)}</groupId><artifactId>{escape(name)}</artifactId><version>{escape(version)}</version>"
    )
    if kind:
        alone = "<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
        parts += f"<type>{escape(kind[0])}</type><exclusions>{alone}</exclusions>"
    return f"<dependency>{parts}</dependency>\n"


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, attempts: int = 1) -> None:
    """Runs an installation's command to its end; a network's hiccup is given a second chance."""
    for attempt in range(1, attempts + 1):
        done = subprocess.run(
            [str(c) for c in command],
            env=dict(environment or os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode == 0:
            return
        if attempt == attempts:
            raise NotInstalled(_in_words(command, done))


def _in_words(command: Sequence[str | Path], done: "subprocess.CompletedProcess[str]") -> str:
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).strip()[-1500:]
    return (
        f"`{' '.join(str(c) for c in command)}` ended with status {done.returncode}:\n{said}\n"
        "Is the network there, and is there room on the disk? `ratchet stack up` goes on where this stopped"
    )


def _apt_get(wanted: AptPackage) -> None:
    # RUNLEVEL=1: without systemd, a package's own server is not started behind our back.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        run([*_APT, "install", wanted.package], environment=environment)
    except NotInstalled:
        run([*_APT, "update"], environment=environment, attempts=2)  # the list of packages is old, or was never fetched
        run([*_APT, "install", wanted.package], environment=environment)


def _check_zip(archive: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            broken = opened.testzip()
    except zipfile.BadZipFile as error:
        broken = str(error)
    if broken:
        raise NotInstalled(
            f"{archive.name} arrived broken ({broken}); remove it from Maven's local repository and retry"
        )


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise NotInstalled("uv is missing, which makes the servers' environments: `pip install uv`")
    return found


def _readable_for_all(folder: Path) -> None:
    """Servers that refuse root run as another user, who only reads here."""
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o755)
        for file in files:
            path = Path(parent, file)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
