"""Calls to Argilla's HTTP that its SDK hides too much of: bulk upserts, searches, listings.

A 500 does not mean "not saved": every call here may be made again. A connection that fails, a 5xx, a 408 and a 429
are Unavailable; 422 and 413 are Refused, with the server's words; 401 and 403 BadConfig; what else is not 2xx Unusable.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from services.annotation.desk_answers import ANSWERED
from shared.errors import BadConfig, Unavailable, Unusable

PAGE = 500
_AGAIN = (408, 425, 429)
_ANSWERED = {
    "filters": {
        "and": [
            {
                "type": "terms",
                "scope": {"entity": "response", "property": "status"},
                "values": list(ANSWERED),
            }
        ]
    }
}


class Refused(Unusable):
    """The server took none of the batch, for what one of its records is."""


class GoneFromDesk(Unusable):
    """What was asked for is not there (404)."""


class Wire:
    """client: with the server's address and key."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def upsert(self, dataset_id: str, encoded: Sequence[bytes]) -> None:
        """encoded: records as JSON. All or none is kept; an upsert keeps the responses that are there."""
        body = b'{"items":[' + b",".join(encoded) + b"]}"
        headers = {"content-type": "application/json"}
        self.call("PUT", f"/api/v1/datasets/{dataset_id}/records/bulk", content=body, headers=headers)

    def answered(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """Records with a submitted or discarded response, as far as the search index knows."""
        path = f"/api/v1/datasets/{dataset_id}/records/search"
        for offset in _offsets():
            params = {"include": "responses", "limit": PAGE, "offset": offset}
            page = self.call("POST", path, params=params, json=_ANSWERED)
            yield from (item["record"] for item in page["items"])
            if offset + PAGE >= page["total"]:
                return

    def indexed(self, dataset_id: str) -> set[str]:
        """Ids of all records that the search index knows, and so the annotators."""
        path, found = f"/api/v1/datasets/{dataset_id}/records/search", set()
        for offset in _offsets():
            page = self.call("POST", path, params={"limit": PAGE, "offset": offset}, json={})
            found |= {item["record"]["id"] for item in page["items"]}
            if offset + PAGE >= page["total"]:
                return found
        return found

    def kept(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """All records with their responses, from the server's database: the truth, whatever the index says."""
        path = f"/api/v1/datasets/{dataset_id}/records"
        for offset in _offsets():
            params = {"include": "responses", "limit": PAGE, "offset": offset}
            page = self.call("GET", path, params=params)
            yield from page["items"]
            if offset + PAGE >= (page["total"] or 0):
                return

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        where = f"{method} {self._client.base_url}{path.lstrip('/')}"
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise Unavailable(f"{where}: {type(error).__name__}: {error}") from error
        status = response.status_code
        if status >= 500 or status in _AGAIN:
            raise Unavailable(f"{where} answered {status}: {_words(response)}")
        if status in (413, 422):
            raise Refused(f"{where} answered {status}: {_words(response)}")
        if status == 404:
            raise GoneFromDesk(f"{where} answered 404: {_words(response)}")
        if status in (401, 403):
            raise BadConfig(f"{where} answered {status}; RATCHET_DESK_API_KEY has to be the key of an owner")
        if status >= 300:
            raise Unusable(f"{where} answered {status}: {_words(response)}")
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise Unavailable(f"{where} answered what is not JSON: {error}") from error


def encoded(record: dict[str, Any]) -> bytes:
    """Half a surrogate pair, which no JSON on the wire can carry, becomes a question mark."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


def _offsets() -> Iterator[int]:
    return iter(range(0, 500_000, PAGE))  # the largest window Argilla's index allows


def _words(response: httpx.Response) -> str:
    return response.text[:500]
