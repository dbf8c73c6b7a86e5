"""Argilla's webhooks: signed as Standard Webhooks, and never more than a hint to look now.

Nothing in a body is believed but that something changed, so a forged, late or lost one costs nothing. Argilla sends
each attempt with a new id, so a repeat is known by its type, time and subject.
Fails: a wrong signature or a time outside the window is Forged; while Argilla cannot tell the secret, Unavailable.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.annotation.desk_wire import Wire
from shared.errors import Unusable

MOST_REMEMBERED = 10_000
EVENTS = ("response.created", "response.updated", "response.deleted", "record.completed")


class Forged(Unusable):
    """Not signed with our secret, or at another time than now."""


class Subscribes(Protocol):
    def subscribe(self, url: str) -> str: ...


def subscribe(wire: Wire, url: str) -> str:
    """The secret of the webhook to this address, which is made if there is none."""
    ours = [hook for hook in wire.call("GET", "/api/v1/webhooks")["items"] if hook["url"] == url]
    if not ours:
        body = {"url": url, "events": list(EVENTS), "description": "Ratchet: look for verdicts now"}
        return str(wire.call("POST", "/api/v1/webhooks", json=body)["secret"])
    if not ours[0]["enabled"] or set(ours[0]["events"]) != set(EVENTS):
        whole = {"enabled": True, "events": list(EVENTS)}
        wire.call("PATCH", f"/api/v1/webhooks/{ours[0]['id']}", json=whole)
    return str(ours[0]["secret"])


def unsubscribe(wire: Wire, url: str) -> None:
    for hook in wire.call("GET", "/api/v1/webhooks")["items"]:
        if hook["url"] == url:
            wire.call("DELETE", f"/api/v1/webhooks/{hook['id']}")


class Hook:
    """One address that Argilla calls. Safe to share between threads."""

    def __init__(self, desk: Subscribes, url: str | None) -> None:
        """url: None, no webhooks: every call is forged."""
        self._desk, self._url = desk, url
        self._lock = threading.Lock()
        self._secret: str | None = None
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def subscribe(self) -> None:
        """Asks Argilla for the secret, unless it is known. Raises Unavailable."""
        with self._lock:
            if self._url is not None and self._secret is None:
                self._secret = self._desk.subscribe(self._url)

    def is_news(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether this is worth a look; False for what came before."""
        payload = self._verified(body, headers)
        data = payload.get("data")
        subject = str(data.get("id", "")) if isinstance(data, dict) else ""
        key = (str(payload.get("type", "")), str(payload.get("timestamp", "")), subject)
        with self._lock:
            if key in self._seen:
                return False
            self._seen[key] = None
            if len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)
        return True

    def _verified(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        if self._url is None:
            raise Forged("this deployment takes no webhooks (RATCHET_DESK_WEBHOOK)")
        self.subscribe()
        with self._lock:
            secret = self._secret or ""
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
            payload = json.loads(body)
        except WebhookVerificationError as error:
            raise Forged(f"the webhook is not to be trusted: {error}") from error
        except (ValueError, RecursionError) as error:
            raise Forged(f"the webhook cannot be read: {error}") from error
        if not isinstance(payload, dict):
            raise Forged("the webhook's body is no JSON object")
        return payload
