"""Calls from one service to another: JSON over HTTP, errors as this project's own.

A refused connection, a timeout or a 5xx is Unavailable; a 4xx (or a redirect, which is a wrong
address) is Unusable with the other side's sentence.
Callers that must not lose the call retry it: every call in the design's table is harmless when made twice.
"""

from typing import Any

import httpx

from shared.errors import Unavailable, Unusable


class Caller:
    """A client for one service. Safe to share between threads."""

    def __init__(self, base_url: str, timeout_seconds: float = 30.0) -> None:
        self.base_url = base_url
        self._client = httpx.Client(base_url=base_url, timeout=httpx.Timeout(timeout_seconds, connect=3.0))

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, json=body)

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        where = f"{method} {self.base_url}{path}"
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise Unavailable(f"{where}: {type(error).__name__}: {error}") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise Unavailable(f"{where} answered {response.status_code}: {_sentence(response)}")
        if response.status_code >= 300:
            raise Unusable(f"{where} answered {response.status_code}: {_sentence(response)}")
        try:
            return response.json() if "json" in response.headers.get("content-type", "") else response.text
        except ValueError as error:
            raise Unavailable(f"{where} answered what is not JSON: {error}") from error


def _sentence(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:500]
    if isinstance(body, dict):
        error = body.get("error")
        detail = body.get("detail") or (error.get("message") if isinstance(error, dict) else error)
        return str(detail or body)[:500]
    return str(body)[:500]
