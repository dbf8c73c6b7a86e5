"""This machine: room on the disk, who may read the data, which ports others can reach."""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from services.cli.doctor.findings import Finding, look, ok, skipped, wrong
from services.cli.doctor.web import address_of
from shared.hosts import is_loopback

FEW_BYTES, VERY_FEW_BYTES = 5 << 30, 512 << 20
_UNSPECIFIED = ("0.0.0.0", "::")


def room(folder: Path, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> Finding:
    """Free space where the spool, the artifacts and the embedded parts are written."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = free_bytes(there)
    says = f"{free / 2**30:.1f} GiB are free for {folder}"
    if free < VERY_FEW_BYTES:
        return wrong("disk", says, "make room: answers are refused (503) when the spool cannot be written")
    if free < FEW_BYTES:
        return look("disk", says, "make room soon: each training leaves a run, and the spool may need 1 GiB")
    return ok("disk", says)


def privacy(folder: Path) -> Finding:
    """The data folder holds what users wrote: nobody else on this machine should read it."""
    name = "data folder"
    if not folder.exists():
        return skipped(name, f"{folder} does not exist yet; the first start makes it")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return wrong(name, f"{folder} cannot be written by this user", "give it to the user that runs the services")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        says = f"{folder} (mode {mode:o}) is open to other users of this machine; it holds captured text"
        return look(name, says, f"chmod 700 {folder}")
    return ok(name, f"{folder} is writable, and closed to others")


def exposed(urls: Mapping[str, str], listens_on: str, others_reach: Callable[[int], bool]) -> Iterator[Finding]:
    """Ports of ours that answer on another address than loopback. No service asks its callers for a password.

    urls: name -> where it is reached; those on other machines are theirs to guard.
    """
    name = "ports"
    here = {n: address_of(url)[1] for n, url in urls.items() if _is_here(address_of(url)[0])}
    if not here:
        yield skipped(name, "no address in the settings is on this machine")
        return
    if open_ones := [f"{n} ({port})" for n, port in here.items() if others_reach(port)]:
        yield look(
            name,
            f"{', '.join(open_ones)} can be reached from other machines, and asks for no password",
            "bind it to 127.0.0.1 (RATCHET_HOST), or let a firewall or a proxy that asks who it is stand before it",
        )
    else:
        yield ok(name, f"{', '.join(here)}: only this machine reaches them")
    if not is_loopback(listens_on):
        yield look(
            name,
            f"RATCHET_HOST={listens_on}: a service that is started here answers on that address",
            "right inside a container whose ports are published on loopback; else RATCHET_HOST=127.0.0.1",
        )


def reached_from_elsewhere(port: int) -> bool:
    """Whether something answers on this machine's own address; False where it has none beside loopback."""
    for address in own_addresses():
        try:
            with socket.create_connection((address, port), timeout=1):
                return True
        except OSError:
            continue
    return False


def own_addresses() -> list[str]:
    """The addresses others reach this machine by; nothing is sent to find them."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return [address for address in found if not is_loopback(address)]


def _is_here(host: str) -> bool:
    return is_loopback(host) or host in _UNSPECIFIED or host in own_addresses()
