"""What a server of the stack is: one value that says how to install, prepare, start, ask and stop it.

Each module beside this one makes such a value; the supervisor knows nothing else about a server.
"""

import grp
import os
import pwd
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.native.credentials import Credentials, credentials_in
from infra.native.layout import Layout
from infra.native.settings import StackSettings
from shared.errors import BadConfig, Unavailable


class NotHealthy(Unavailable):
    """The server does not do its work now; the text says what was asked and what came back."""


class Installs(Protocol):
    """How what is missing gets here. Each call is harmless when it is there already."""

    def apt(self, name: str) -> None: ...
    def maven(self, name: str, then: Callable[[Path], None] | None = None) -> Path: ...
    def python(self, name: str) -> Path: ...


class Runs(Protocol):
    """Runs a command to its end, its output in the server's log; a status that is not 0 is Unavailable."""

    def __call__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str = "",
    ) -> str: ...


def nothing_to_prepare(_: Runs) -> None:
    """For servers that start from an empty folder by themselves."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    install: Callable[[Installs], object]
    command: Sequence[str | Path]
    health: Callable[[], None]  # returns when the server does its work, else raises NotHealthy
    needs: tuple[str, ...] = ()
    other_ports: tuple[int, ...] = ()
    prepare: Callable[[Runs], None] = nothing_to_prepare  # before every start, when its needs are healthy
    environment: Mapping[str, str] = field(default_factory=dict)  # all it gets beside PATH, HOME and the locale
    user: str | None = None  # for servers that refuse root; None: whoever started the stack
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    start_seconds: float = 120.0  # longer than this without an answer is a failure
    memory_mb: int = 256  # its share of the stack's budget, PSS with its children


@dataclass(frozen=True, slots=True)
class Place:
    """What a server's module needs to know about the stack it is made for."""

    settings: StackSettings
    layout: Layout
    credentials: Credentials

    @classmethod
    def of(cls, settings: StackSettings) -> "Place":
        layout = Layout.of(settings)
        layout.make()
        return cls(settings, layout, credentials_in(layout.credentials))


def as_user(user: str | None) -> list[str]:
    """The words before a command that make it run as another user, where root asks."""
    if user is None or os.geteuid() != 0:
        return []
    account = account_of(user)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def account_of(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise BadConfig(f"there is no user {user!r} on this machine, and this server refuses to run as root") from None


def owned_folder(path: Path, user: str | None, mode: int = 0o700) -> Path:
    """The folder, made where missing, owned by the user where root runs the stack; its parents let the user through."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if user is None or os.geteuid() != 0:
        return path
    account = account_of(user)
    os.chown(path, account.pw_uid, account.pw_gid)
    for parent in path.parents:
        if not _may_pass(parent, account):
            raise BadConfig(
                f"user {user} may not pass through {parent}, and the server that keeps its data in {path} refuses to "
                f"run as root; `chmod o+x {parent}`, or set RATCHET_STACK_DIR to a folder elsewhere"
            )
    return path


def _may_pass(folder: Path, account: pwd.struct_passwd) -> bool:
    status = folder.stat()
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid in {account.pw_gid, *(g.gr_gid for g in grp.getgrall() if account.pw_name in g.gr_mem)}:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
