"""The gateway beside others: `python -m benchmarks.gateway`, or `make bench-gateway`. Linux, Debian's packages, 2 CPUs.

nginx says the same to everybody, wrk asks; the gateway under test has a core to itself, everything else shares another.
Fails when a request fails anywhere, or when an answer of ours is not in Kafka. Writes benchmarks/results/gateway.json
and the table in docs/performance.md; `--table` only the table, `--quick` nothing: ours and nginx, a second each.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from benchmarks.gateway import nginx, report
from benchmarks.gateway.broker import Arrivals, broker
from benchmarks.gateway.install import PeerInstaller
from benchmarks.gateway.peers import Making, Upstreams, litellm, own, plain_nginx, portkey, serving, started, tensorzero
from benchmarks.gateway.rounds import Plan, Rounds
from shared.processes import free_ports

FOLDER = report.ROOT / "data" / "benchmarks"  # ignored by git
SERVERS = report.ROOT / "data" / "stack" / "servers"
OTHERS: Sequence[Making] = (plain_nginx, tensorzero, portkey, litellm)
say = Console(stderr=True, highlight=False).print


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement of a round")
    parser.add_argument("--quick", action="store_true", help="ours and nginx, one short round; prints, keeps nothing")
    parser.add_argument("--table", action="store_true", help="only write the table again, from the kept results")
    options = parser.parse_args()
    if options.table:
        report.write_table()
        return
    plan = Plan(1, 1, 1) if options.quick else Plan(options.rounds, options.seconds, 1)
    found = measured(plan, [plain_nginx] if options.quick else OTHERS)
    if options.quick:
        print(json.dumps(found))
    else:
        report.write(found)
        print(report.table(found))


def measured(plan: Plan, others: Sequence[Making]) -> dict[str, object]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two CPUs are needed: one for the gateway, one for those who ask and answer it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    installer = PeerInstaller(FOLDER, say)
    installer.tools()
    os.sched_setaffinity(0, {cores[0]})  # ours, and so of everything that is started from here
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="ratchet-bench-")))
        (folder / "kafka").mkdir()
        servers = Path(os.environ.get("RATCHET_STACK_SERVERS_DIR") or SERVERS).resolve()
        kafka = held.enter_context(broker(folder / "kafka", servers))
        upstreams = Upstreams(*free_ports(2))
        held.enter_context(
            started("model", nginx.model_server(folder, upstreams.whole_port, upstreams.stream_port), folder, cores[0])
        )
        gateways = []
        for make in (own(f"kafka://{kafka}"), *others):
            peer = make(folder, upstreams, installer)
            say(f"starting {peer.name}")
            gateways.append(held.enter_context(serving(peer, folder, cores[1])))
        arrivals = Arrivals(kafka)
        held.callback(arrivals.close)
        arrivals.begin()
        rounds = Rounds(gateways, arrivals, folder, cores[0])
        rounds.run(plan, say)
        say(f"{arrivals.asked_for} answers, all in Kafka; {arrivals.records} records, {arrivals.duplicates} twice")
        return report.results(rounds, arrivals, plan, installer.versions())


if __name__ == "__main__":
    sys.exit(main())
