"""The real servers of a demo: a native stack in the demo's own folder, on free ports, that ends with the demo.

What is installed is shared with `ratchet stack` (RATCHET_STACK_SERVERS_DIR, else its folder's `servers`), so a second
demo downloads nothing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

import training.tiny
from infra.native import control
from infra.native.addresses import addresses
from infra.native.catalog import chosen
from infra.native.layout import Layout
from infra.native.server import Place
from infra.native.settings import StackSettings
from shared.processes import free_ports

BASE = Path(training.tiny.__file__).parent / "base"
SERVED_NAME = "tiny"  # as [models] of the demo's ratchet.toml has it
MAX_LENGTH = 512


@contextmanager
def running_servers(console: Console, folder: Path, *, rules: Path) -> Iterator[dict[str, str]]:
    """The settings that point our services at them. Ports, folder, rules and vLLM's model are the demo's own."""
    usual = StackSettings.load()
    ports = [name for name in StackSettings.model_fields if name.endswith("_port")]
    wanted = {name: str(port) for name, port in zip(ports, free_ports(len(ports)), strict=True)} | {
        "dir": str(folder / "stack"),
        "servers_dir": str(Layout.of(usual).servers),
        "prometheus_rules": str(rules),
        "vllm_model": str(BASE),
        "vllm_served_name": SERVED_NAME,
        "vllm_dtype": "float32",
        "vllm_max_length": str(MAX_LENGTH),
    }
    # The supervisor is another process and reads them from there.
    os.environ.update({f"RATCHET_STACK_{name.upper()}": word for name, word in wanted.items()})
    place = Place.of(StackSettings.load())
    servers = chosen(place, beside=["vllm"])
    control.install(place, servers, say=lambda line: console.print(line, style="dim", highlight=False))
    began = time.monotonic()
    try:
        with console.status(f"starting {', '.join(server.name for server in servers)}"):
            control.begin(place, servers)
            control.wait_until_healthy(place.layout, servers, lambda state: None)
        console.print(f"{len(servers)} servers healthy after {time.monotonic() - began:.1f} s", highlight=False)
        yield addresses(place, [server.name for server in servers])
    finally:
        control.take_down(place.layout)
