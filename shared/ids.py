"""Identifiers: time-ordered event ids and the names of model versions."""

import hashlib
import os
import re
import time
import uuid

_VERSION = re.compile(r"^(?P<workload>[a-z0-9][a-z0-9-]{0,62})@(?P<digest>base-[0-9a-f]{8}|[0-9a-f]{16})\Z")


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits; sorts by time as text."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def first_uuid7_at(unix_seconds: float) -> str:
    """Sorts before every UUIDv7 made at this time or later, and after every one made before."""
    return str(uuid.UUID(int=int(unix_seconds * 1000) << 80 | 0x7 << 76 | 0x2 << 62))


def version_name(workload: str, adapter_sha256: str) -> str:
    """`support-triage@3f2a9c01d4e5b6a7`: the workload and the first 16 hex digits of the adapter's hash."""
    return f"{workload}@{adapter_sha256[:16]}"


def base_digest(path: str) -> str:
    """The digest that names a bare base: of the model's `path` as ratchet.toml gives it, once read."""
    return hashlib.sha256(path.encode("utf-8")).hexdigest()


def base_version_name(workload: str, base_sha256: str) -> str:
    """`support-triage@base-1a2b3c4d`: the bare base model, the champion of a workload that has no adapter yet."""
    return f"{workload}@base-{base_sha256[:8]}"


def workload_of(version: str) -> str:
    """The workload a version belongs to; ValueError when the text is not a version's name."""
    match = _VERSION.match(version)
    if match is None:
        raise ValueError(f"{version!r} is not a version; it should look like support-triage@3f2a9c01d4e5b6a7")
    return match["workload"]
