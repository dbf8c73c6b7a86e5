"""`ratchet status`: the loop's state at a glance, asked from the services themselves."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.cli.supervisor import SERVICES
from shared.calls import Caller
from shared.errors import RatchetError
from shared.plain import shown
from shared.settings import SharedSettings


def gather(settings: SharedSettings) -> dict[str, Any]:
    """`services`: name -> url, state, objections; beside it each service's own status, None where it is down."""
    state: dict[str, Any] = {"services": {}}
    for name in SERVICES:
        if name == "model_server" and settings.upstream_urls:
            continue
        url = settings.url_of(name)
        state["services"][name] = {"url": url, **_readiness(url)}
        if name != "model_server":
            state[name] = _asked(url, "/v1/status")
    jobs = _asked(settings.url_of("scheduler"), "/v1/jobs", state="running")
    state["running_jobs"] = (jobs or {}).get("jobs", [])
    return state


def show(state: dict[str, Any], console: Console) -> None:
    if all(service["state"] == "down" for service in state["services"].values()):
        console.print(_services(state), "Nothing runs here; `ratchet up` starts it.")
        return
    console.print(Group(_services(state), _workloads(state), *_jobs(state), *_advice(state)))


def _asked(url: str, path: str, **params: str) -> dict[str, Any] | None:
    caller = Caller(url, timeout_seconds=5)
    try:
        answer = caller.get(path, **params)
    except RatchetError:
        return None
    finally:
        caller.close()
    # Something else may listen on our port.
    return answer if isinstance(answer, dict) and isinstance(answer.get("workloads", {}), dict) else None


def _readiness(url: str) -> dict[str, Any]:
    caller = Caller(url, timeout_seconds=5)
    try:
        caller.get("/readyz")
    except RatchetError as error:
        down = "ConnectError" in str(error)
        return {"state": "down" if down else "not ready", "objections": [] if down else [str(error)]}
    finally:
        caller.close()
    return {"state": "ready", "objections": []}


def _services(state: dict[str, Any]) -> RenderableType:
    table = Table("service", "state", "where", title="Services", title_justify="left")
    for name, service in state["services"].items():
        colour = {"ready": "green", "not ready": "yellow"}.get(service["state"], "red")
        table.add_row(name, Text(service["state"], style=colour), service["url"])
        for objection in service["objections"]:
            table.add_row("", "", Text(shown(objection), style="yellow"))
    return table


def _workloads(state: dict[str, Any]) -> RenderableType:
    table = Table("", title="The loop", title_justify="left", show_header=True)
    promotion, annotation = state.get("promotion") or {}, state.get("annotation") or {}
    scheduler = state.get("scheduler") or {}
    names = sorted(set(promotion.get("workloads", {})) | set(annotation.get("workloads", {})))
    for name in names:
        table.add_column(name)
    stores = [annotation.get("workloads", {}).get(n, {}) for n in names]
    models = [promotion.get("workloads", {}).get(n, {}) for n in names]
    plans = [scheduler.get("workloads", {}).get(n, {}) for n in names]
    rows = (
        ("champion", [m.get("champion") for m in models]),
        ("last verdict", [_verdict(m.get("last_verdict")) for m in models]),
        ("decisions left on holdout", [_decisions_left(m.get("ledger")) for m in models]),
        ("samples stored", [s.get("samples") for s in stores]),
        ("waiting for an expert", [_waiting(s) for s in stores]),
        ("corrected", [s.get("corrected") for s in stores]),
        ("examples: train", [s.get("train") for s in stores]),
        ("examples: holdout", [_holdout(s) for s in stores]),
        ("refused by curation", [sum((s.get("rejected") or {}).values()) for s in stores]),
        ("knowledge gaps", [s.get("knowledge") for s in stores]),
        ("new since last training", [p.get("new_examples") for p in plans]),
        ("next training", [p.get("next") for p in plans]),
    )
    for title, values in rows:
        table.add_row(title, *["-" if v is None else Text(shown(v)) for v in values])
    return table


def _verdict(verdict: dict[str, Any] | None) -> str | None:
    if not verdict:
        return None
    return f"{verdict.get('verdict')} {verdict.get('version')}"


def _decisions_left(ledger: dict[str, Any] | None) -> str | None:
    if not ledger:
        return None
    spent = f"{ledger.get('spent', 0):g} of {ledger.get('budget', 0):g} of alpha spent"
    version = f" on version {ledger['holdout_version']}" if ledger.get("holdout_version") else ""
    return f"{ledger.get('decisions_left')} ({spent}{version})"


def _waiting(store: dict[str, Any]) -> str | None:
    if "waiting" not in store:
        return None
    # Nominated, and not shown: something like it was shown lately, or there is no room in today's budget.
    held = f" ({store['nominated']} held back: repeats, or over today's budget)" if store.get("nominated") else ""
    return f"{store['waiting']}{held}"


def _holdout(store: dict[str, Any]) -> str | None:
    if "holdout" not in store:
        return None
    return f"{store['holdout']} in {store.get('holdout_groups', '?')} groups"


def _jobs(state: dict[str, Any]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for job in state["running_jobs"]:
        line = f"running: {job['kind']} for {job['workload']} ({job['why']}), {progress_of(job) or 'just begun'}"
        lines.append(Text(shown(line), style="cyan"))
    return lines


def progress_of(job: dict[str, Any]) -> str:
    """`step 15/60, loss 0.847, 52 s to go`; `done/total` of an evaluation; empty before its first word."""
    progress = job.get("progress") or {}
    if "done" in progress:
        return f"{progress['done']}/{progress.get('total')}"
    if "step" not in progress:
        return ""
    parts = [f"step {progress['step']}/{progress.get('steps')}"]
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("eta_seconds") and job.get("state") == "running":
        parts.append(f"{progress['eta_seconds']:.0f} s to go")
    return ", ".join(parts)


def _advice(state: dict[str, Any]) -> list[RenderableType]:
    annotation = state.get("annotation") or {}
    return [
        Text(shown(f"{name}: {sentence}"), style="yellow")
        for name, store in annotation.get("workloads", {}).items()
        for sentence in store.get("advice") or []
    ]
