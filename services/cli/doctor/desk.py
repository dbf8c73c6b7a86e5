"""The desk: annotation's own page, or Argilla with a key that is let in and a dataset for each workload.

Argilla is asked over plain HTTP: its client library belongs to annotation alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from services.cli.doctor.findings import Finding, misconfigured, ok, wrong
from services.cli.doctor.web import ask, asked_json
from shared.errors import Unavailable

NAME = "desk"
_PREFIX = "argilla+"


def desk(url: str, api_key: str, workspace: str, workloads: Sequence[str]) -> Iterator[Finding]:
    if not url:
        yield ok(NAME, "experts work on annotation's own page, /desk")
        return
    if not url.startswith((f"{_PREFIX}http://", f"{_PREFIX}https://")):
        yield misconfigured(NAME, f"RATCHET_DESK_URL={url}", "argilla+http://host:port, or empty for the own page")
        return
    address = url.removeprefix(_PREFIX).rstrip("/")
    key = {"X-Argilla-Api-Key": api_key}
    try:
        yield of_status(address, asked_json(f"{address}/api/v1/status"))
        me = ask("GET", f"{address}/api/v1/me", headers=key)
        refusal = of_account(me.status_code, _json(me))
        if refusal is not None:
            yield refusal
            return
        spaces = asked_json(f"{address}/api/v1/me/workspaces", headers=key)["items"]
        datasets = asked_json(f"{address}/api/v1/me/datasets", headers=key)["items"]
    except Unavailable as error:
        do = "start Argilla with its PostgreSQL, Redis and OpenSearch; what experts should see waits in our tables"
        yield wrong(NAME, str(error), do)
        return
    yield of_setup(workspace, spaces, datasets, workloads)


def of_status(address: str, status: dict[str, Any]) -> Finding:
    if not status.get("search_engine"):
        return wrong(NAME, f"Argilla at {address} has no search engine", "start OpenSearch, then Argilla")
    return ok(NAME, f"Argilla {status.get('version')} at {address}")


def of_account(status: int, account: Any) -> Finding | None:
    """None: the key is let in, as an owner."""
    if status in (401, 403):
        return misconfigured(NAME, "Argilla refuses RATCHET_DESK_API_KEY", "give it the API key of an owner of Argilla")
    if status != 200 or not isinstance(account, dict):
        return wrong(NAME, f"Argilla answered {status} to who we are", "see its log")
    if account.get("role") != "owner":
        says = f"the key is that of {account.get('username')}, whose role is {account.get('role')}"
        return misconfigured(NAME, says, "give it the API key of an owner of Argilla")
    return None


def of_setup(
    workspace: str, spaces: list[dict[str, Any]], datasets: list[dict[str, Any]], workloads: Sequence[str]
) -> Finding:
    """A dataset of a workload is called `<workload>.v<number>-...`, in the workspace, and published."""
    found = next((space for space in spaces if space.get("name") == workspace), None)
    if found is None:
        return wrong(NAME, f"Argilla has no workspace {workspace}", "ratchet desk setup")
    names = [str(d["name"]) for d in datasets if d.get("workspace_id") == found["id"] and d.get("status") == "ready"]
    if missing := [w for w in workloads if not any(name.startswith(f"{w}.v") for name in names)]:
        return wrong(NAME, f"no dataset in {workspace} is for {', '.join(missing)}", "ratchet desk setup")
    return ok(NAME, f"a dataset in {workspace} for {', '.join(workloads)}")


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
