"""Asking servers over HTTP, as the checks do: short, without proxies, an answer or a sentence."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from shared.errors import Unavailable

TIMEOUT_SECONDS = 5.0


def ask(method: str, url: str, *, bearer: str = "", headers: dict[str, str] | None = None, body: Any = None) -> Any:
    """The httpx response, whatever its status; Unavailable when there is none."""
    sent = dict(headers or {}) | ({"authorization": f"Bearer {bearer}"} if bearer else {})
    try:
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            return client.request(method, url, headers=sent, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} does not answer: {type(error).__name__}: {error}".rstrip(": ")) from error


def asked_json(url: str, *, bearer: str = "", headers: dict[str, str] | None = None) -> Any:
    """What a 200 holds; anything else is Unavailable with what came."""
    response = ask("GET", url, bearer=bearer, headers=headers)
    if response.status_code != 200:
        raise Unavailable(f"{url} answered {response.status_code}: {response.text[:300]}")
    try:
        return response.json()
    except ValueError:
        raise Unavailable(f"{url} answered what is not JSON: {response.text[:100]!r}") from None


def address_of(url: str) -> tuple[str, int]:
    """host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
