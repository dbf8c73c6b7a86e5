"""Starts the whole deployment under the supervisor and says where everything is."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import httpx

from services.cli.migrate import upgrade_when_there
from services.cli.supervisor import SERVICES, Supervisor, lock_data_folder
from shared.errors import BadConfig
from shared.plain import shown
from shared.processes import obey_supervisor, port_is_free
from shared.settings import SharedSettings

COLOURS = {"gateway": 36, "model_server": 35, "annotation": 33, "scheduler": 34, "promotion": 32, "ratchet": 1}
WIDTH = max(len(name) for name in SERVICES)


def run_everything(settings: SharedSettings) -> int:
    """Until SIGTERM or SIGINT; the exit status. Checks the configuration, the ports and the data folder first."""
    obey_supervisor()
    deployment = settings.deployment()
    names = [n for n in SERVICES if n != "model_server" or not settings.upstream_urls]
    say = _prefixed(sys.stdout.isatty())
    with lock_data_folder(settings.data_dir):
        _check_ports(settings, names)
        upgrade_when_there(settings.database, lambda line: say("ratchet", line))
        supervisor = Supervisor(names, os.environ, say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        say("ratchet", f"workloads: {', '.join(sorted(deployment.workloads))}; data in {settings.data_dir.resolve()}")
        threading.Thread(target=_announce, args=(settings, names, say), daemon=True).start()
        status = supervisor.run()
        say("ratchet", "stopped")
    return status


def _check_ports(settings: SharedSettings, names: Sequence[str]) -> None:
    ports = {n: int(getattr(settings, f"{n}_port")) for n in names}
    for name, port in ports.items():
        if not port_is_free(port, settings.host):
            raise BadConfig(f"port {port} is in use; set RATCHET_{name.upper()}_PORT to a free one")
    if len(set(ports.values())) < len(ports):
        raise BadConfig(f"two services share a port: {ports}; set the RATCHET_..._PORT of one of them")


def _announce(settings: SharedSettings, names: Sequence[str], say: Callable[[str, str], None]) -> None:
    """Says once when each service is ready, then where to go."""
    waiting = set(names)
    pause = threading.Event()
    while waiting:
        for name in sorted(waiting):
            if is_ready(settings.url_of(name)):
                waiting.discard(name)
                say("ratchet", f"{name} is ready at {settings.url_of(name)}")
        pause.wait(0.3)
    say(
        "ratchet",
        f"ready. Applications: {settings.url_of('gateway')}/v1   Experts: {settings.url_of('annotation')}/desk",
    )


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _prefixed(colour: bool) -> Callable[[str, str], None]:
    lock = threading.Lock()

    def say(name: str, line: str) -> None:
        prefix = f"{name:<{WIDTH}} | "
        if colour:
            prefix = f"\x1b[{COLOURS.get(name, 0)}m{prefix}\x1b[0m"
        with lock:
            print(f"{prefix}{shown(line)}", flush=True)

    return say
