"""Which names a service answers to: a page that rebinds its own name to 127.0.0.1 gets nothing (DNS rebinding).

Such a page reaches a service on this machine, but its browser goes on sending the page's name as `Host`. So a service
that listens on a loopback address answers only to loopback names and to those of RATCHET_ALLOWED_HOSTS. One that
listens elsewhere is reached by names nobody here knows: it answers to all, until RATCHET_ALLOWED_HOSTS names some.

Starlette's TrustedHostMiddleware has no ranges, answers in plain text, and has only lately learnt of IPv6.
"""

import ipaddress
import json
from typing import Any

from shared.body_limit import App, Message, Receive, Send


class HostGuard:
    """ASGI middleware. 421 in a sentence for a `Host` that is none of ours; a request without one passes."""

    def __init__(self, app: App, listens_on: str, allowed: str = "") -> None:
        """allowed: RATCHET_ALLOWED_HOSTS, comma-separated; `*.example.org` for all below a name, `*` for any."""
        self._app = app
        given = {name for part in allowed.split(",") if (name := _name(part.strip()))}
        self._any = "*" in given or (not given and not is_loopback(listens_on))
        self._names = {name for name in given if not name.startswith("*")} | {_name(listens_on)}
        self._endings = tuple(name[1:] for name in given if name.startswith("*."))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._any or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        unknown = [host for host in sent if not self._is_ours(_name(host))]
        if unknown:
            await _refuse(scope, send, unknown[0])
        else:
            await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        return not name or name in self._names or name.endswith(self._endings) or is_loopback(name)


def is_loopback(name: str) -> bool:
    """Whether the name always means this machine: localhost, below .localhost, 127.0.0.0/8, ::1."""
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Without the port, in lower case: `[::1]:8082` -> `[::1]`, `Desk.example.:80` -> `desk.example`."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].rstrip(".").lower()


async def _refuse(scope: Message, send: Send, host: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    detail = f"this service does not answer to the name {host[:200]!r}; RATCHET_ALLOWED_HOSTS lists further names"
    body: dict[str, Any] = {"detail": detail}
    await send({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
