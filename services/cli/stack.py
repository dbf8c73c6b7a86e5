"""`ratchet stack`: the real servers around the loop, on this machine, without Docker.

Exit status as everywhere in `ratchet`: 0 done; 1 a server is not healthy; 2 wrong configuration or arguments.
"""

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.native import control
from infra.native.addresses import addresses, as_shell
from infra.native.catalog import SERVERS, chosen
from infra.native.layout import Layout
from infra.native.processes import memory_mb
from infra.native.server import Place, Server
from infra.native.settings import StackSettings
from infra.native.state import Phase, ServerState, StackState, is_locked, running
from services.cli.pages import console
from shared.errors import BadConfig

stack = typer.Typer(
    no_args_is_help=True,
    help="Kafka, PostgreSQL, Redis, OpenSearch, Argilla, Prometheus, Alertmanager and vLLM on this machine.",
)
out = console()
COLOURS = {Phase.HEALTHY: "green", Phase.FAILED: "red", Phase.UNHEALTHY: "red", Phase.PAUSING: "yellow"}

OnlyOption = Annotated[str, typer.Option("--only", help="Only these servers and what they need, comma-separated")]
WithOption = Annotated[str, typer.Option("--with", help="These beside the usual ones, e.g. vllm")]


@stack.command("up")
def up(only: OnlyOption = "", beside: WithOption = "") -> None:
    """Install what is missing, start the servers in the background, wait until all are healthy."""
    place = Place.of(StackSettings.load())
    servers = chosen(place, only=_names(only), beside=_names(beside))
    began = time.monotonic()
    control.install(place, servers, say=lambda line: out.print(line, style="dim", highlight=False))
    control.begin(place, servers)
    with Live(console=out, refresh_per_second=4, transient=False) as live:
        control.wait_until_healthy(place.layout, servers, lambda state: live.update(_progress(state, servers)))
    out.print(f"\nhealthy after {time.monotonic() - began:.1f} s; logs and data in {place.layout.root}")
    out.print('Point the services at it:  eval "$(ratchet stack env)"', highlight=False)


@stack.command("down")
def down() -> None:
    """Stop every server, those that others need last, and wait for it."""
    began = time.monotonic()
    stopped = control.take_down(Layout.of(StackSettings.load()))
    out.print(f"stopped after {time.monotonic() - began:.1f} s" if stopped else "the stack is not running")


@stack.command("status")
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs")] = False) -> None:
    """Show each server: state, port, process, memory, since when."""
    layout = Layout.of(StackSettings.load())
    state = running(layout)
    if state is None:
        if as_json:
            print(json.dumps({"running": False, "servers": []}))
        else:
            out.print("the stack is being stopped" if is_locked(layout) else "the stack is not running")
        raise typer.Exit(1)
    rows = [_row(server) for server in state.servers]
    if as_json:
        print(json.dumps({"running": True, "supervisor_pid": state.supervisor_pid, "servers": rows}, indent=1))
    else:
        out.print(_table(state.servers, rows))
    if any(server.phase is not Phase.HEALTHY for server in state.servers):
        raise typer.Exit(1)


@stack.command("logs")
def logs(
    name: Annotated[str, typer.Argument(help="A server, or supervisor")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it writes")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last lines")] = 50,
) -> None:
    """Print the end of a server's log."""
    if name not in SERVERS and name != "supervisor":
        raise BadConfig(f"there is no server {name}; there are {', '.join(SERVERS)}, and supervisor")
    path = Layout.of(StackSettings.load()).log(name)
    if not path.exists():
        raise BadConfig(f"{name} has written no log yet ({path})")
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in deque(log, maxlen=lines):
            print(line, end="")
        while follow:
            if path.stat().st_size < log.tell():
                log.seek(0)  # it was emptied because it had grown long
            print(log.read(), end="", flush=True)
            time.sleep(0.3)


@stack.command("env")
def env() -> None:
    """Print the settings that point Ratchet's services at the servers; they contain passwords."""
    place = Place.of(StackSettings.load())
    state = running(place.layout)
    names = [s.name for s in state.servers] if state else [s.name for s in chosen(place)]
    print(as_shell(addresses(place, names)))


def _names(comma_separated: str) -> list[str]:
    return [name.strip() for name in comma_separated.split(",") if name.strip()]


def _progress(state: StackState, servers: Sequence[Server]) -> Table:
    table = Table("server", "state", "port", "healthy after", "", box=None)
    for server in servers:
        found = state.server(server.name)
        if found is None:
            continue
        after = f"{found.healthy_after_seconds:.1f} s" if found.healthy_after_seconds is not None else ""
        table.add_row(found.name, _phase(found), str(found.port or ""), after, Text(found.detail[-90:], style="dim"))
    return table


def _row(server: ServerState) -> dict[str, object]:
    memory = memory_mb(server.pid) if server.pid else None
    uptime = time.time() - server.started_at if server.pid and server.started_at else None
    return {**asdict(server), "memory_mb": memory, "uptime_seconds": uptime}


def _table(servers: Sequence[ServerState], rows: Sequence[dict[str, object]]) -> Table:
    table = Table("server", "state", "port", "process", "memory", "uptime", "deaths", "detail", box=None)
    for column in table.columns[:-1]:
        column.no_wrap = True
    total = 0.0
    for server, row in zip(servers, rows, strict=True):
        memory, uptime = row["memory_mb"], row["uptime_seconds"]
        total += memory if isinstance(memory, float) else 0.0
        table.add_row(
            server.name,
            _phase(server),
            str(server.port or ""),
            str(server.pid or ""),
            _memory(memory, server.memory_max_mb) if isinstance(memory, float) else "",
            _duration(uptime) if isinstance(uptime, float) else "",
            str(server.deaths or ""),
            Text(server.detail[-120:]),
        )
    table.add_section()
    most = sum(server.memory_max_mb for server in servers)
    table.add_row("together", "", "", "", _memory(total, most), "", "", "")
    return table


def _phase(server: ServerState) -> Text:
    return Text(server.phase, style=COLOURS.get(server.phase, ""))


def _memory(megabytes: float, of: int) -> Text:
    return Text(f"{megabytes:.0f} of {of} MB", style="red" if megabytes > of else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
