"""The stack's passwords and keys: drawn once, kept in files that only their owner may read.

Twice: the same values. Two at once: the first file that is there wins.
"""

import base64
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from shared.errors import BadConfig


@dataclass(frozen=True, slots=True)
class Credentials:
    postgres_password: str
    redis_password: str
    argilla_owner_password: str
    argilla_owner_api_key: str
    argilla_auth_secret: str
    kafka_cluster_id: str  # 16 bytes in URL-safe base64 without padding, as Kafka's StorageTool draws it


def credentials_in(path: Path) -> Credentials:
    """Those in the file; drawn and written first where there is no file."""
    if not path.exists():
        _write_new(path, json.dumps(asdict(_drawn()), indent=1))
    try:
        found = json.loads(path.read_text("utf-8"))
        return Credentials(**{f.name: str(found[f.name]) for f in fields(Credentials)})
    except (ValueError, KeyError, TypeError) as error:
        raise BadConfig(
            f"{path} does not hold this stack's passwords ({error!r}). Put the file back; without it the data beside "
            f"it cannot be opened: remove {path.parent} to begin anew"
        ) from error


def token_in(path: Path) -> str:
    """The token in a file of its own, for a server that reads it from there; drawn and written first where none is."""
    if not path.exists():
        _write_new(path, secrets.token_hex(24))
    if token := path.read_text("utf-8").strip():
        return token
    raise BadConfig(f"{path} is empty; remove it, and the next start draws a token")


def _drawn() -> Credentials:
    return Credentials(
        postgres_password=secrets.token_hex(16),
        redis_password=secrets.token_hex(16),
        argilla_owner_password=secrets.token_hex(12),
        argilla_owner_api_key=secrets.token_hex(24),
        argilla_auth_secret=secrets.token_hex(32),
        kafka_cluster_id=base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
    )


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # unlike a rename, it never replaces what another drew meanwhile
        except FileExistsError:
            return
    finally:
        partial.unlink()
