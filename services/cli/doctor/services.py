"""Our services: ready, not behind, with room in the spool, and clocks like ours."""

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from services.cli.doctor.database import of_clock
from services.cli.doctor.findings import Finding, look, misconfigured, ok, wrong
from services.cli.doctor.web import ask, asked_json
from shared.errors import Unavailable

MANY_EVENTS = 1000  # behind; at 200 a transaction that is seconds
_LAG = re.compile(r'^ratchet_consumer_lag_events\{consumer="([^"]+)"\} (\S+)$', re.MULTILINE)


def service(name: str, url: str) -> Iterator[Finding]:
    before = time.time()
    try:
        response = ask("GET", f"{url}/readyz")
    except Unavailable as error:
        yield wrong(name, str(error), f"`ratchet up` starts it; {_setting(name)} says where it is")
        return
    after = time.time()
    yield of_readiness(name, url, response.status_code, _json(response))
    if sent := response.headers.get("date"):
        # The header has whole seconds.
        clock = of_clock(f"{name}'s clock", parsedate_to_datetime(sent).timestamp(), before - 1, after + 1)
        if clock.state != "ok":
            yield clock


def of_readiness(name: str, url: str, status: int, body: Any) -> Finding:
    if status == 200:
        return ok(name, f"ready at {url}")
    objections = body.get("objections") if isinstance(body, dict) else None
    if status == 503 and objections:
        return wrong(
            name, f"not ready: {'; '.join(str(o) for o in objections)}", "see what it names; its log says more"
        )
    if status == 421:
        return misconfigured(name, f"{url} does not answer to that name", "add the name to its RATCHET_ALLOWED_HOSTS")
    return wrong(
        name, f"{url}/readyz answered {status}", f"is that Ratchet's {name}? {_setting(name)} says where it is"
    )


def lag(name: str, url: str) -> Iterator[Finding]:
    """How far its consumer is behind, as its own metrics say; silent while it does not answer."""
    try:
        response = ask("GET", f"{url}/metrics")
    except Unavailable:
        return
    for consumer, events in _LAG.findall(response.text):
        if float(events) > MANY_EVENTS:
            says = f"{consumer} has {float(events):,.0f} events to go"
            yield look("lag", says, "nothing is lost; if the number grows, read its log and its dead letters")
        else:
            yield ok("lag", f"{consumer} has {float(events):.0f} events to go")


def spool(gateway_url: str) -> Iterator[Finding]:
    """How full the gateway's spool is: what waits there has not reached the bus."""
    try:
        status = asked_json(f"{gateway_url}/v1/status")
    except Unavailable:
        return  # that the gateway is away is said of the gateway
    yield of_spool(int(status["spool_records"]), int(status["spool_bytes"]), int(status["spool_max_bytes"]))
    if not status.get("plan_version"):
        do = "start promotion, which makes the first plan; until then requests get 503"
        yield wrong("plan", "the gateway has never seen a serving plan", do)


def of_spool(records: int, size: int, most: int) -> Finding:
    share = size / most
    says = f"{records} records wait in the gateway's spool ({share:.0%} of {most / 2**20:.0f} MiB)"
    if share > 0.8:
        do = "bring the bus back now: at 100 % requests are refused (503); RATCHET_GATEWAY_SPOOL_MAX_BYTES gives time"
        return wrong("spool", says, do)
    if share > 0.2:
        return look("spool", says, "the bus is away or slow; nothing is lost")
    return ok("spool", says)


def dead_letters(url: str, name: str) -> Iterator[Finding]:
    """Events its consumer could not use since it started."""
    try:
        text = ask("GET", f"{url}/metrics").text
    except Unavailable:
        return
    found = re.findall(r'^ratchet_consumer_dead_letters_total\{consumer="[^"]+"\} (\S+)$', text, re.MULTILINE)
    if total := sum(float(n) for n in found):
        yield look("dead letters", f"{name} could not use {total:.0f} events", "`ratchet dead-letters` says why")


def _setting(name: str) -> str:
    return "RATCHET_MODEL_SERVER_PORT" if name == "model_server" else f"RATCHET_{name.upper()}_URL"


def _json(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
