"""The stack's supervisor: keeps the wanted servers running, says how they are, stops them in the order of their needs.

Reads:  run/wanted.json, written by `ratchet stack up`.      Writes: run/state.json.
SIGTERM, SIGINT: servers that nobody needs any more are stopped first, then those they needed, until none is left.
Started by `infra.native.warden` only, which holds the lock.
"""

import os
import signal
import sys
import threading

from infra.native.catalog import chosen, leaves_first
from infra.native.keeper import Keeper
from infra.native.server import Place
from infra.native.settings import StackSettings
from infra.native.state import Phase, StackState, read_wanted, write_state
from shared.errors import RatchetError

LOOK_SECONDS = 0.25


class Supervisor:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._keepers: dict[str, Keeper] = {}
        self._stopping = threading.Event()
        self._written: StackState | None = None

    def stop(self) -> None:
        """Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        wanted: list[str] = []
        while not self._stopping.is_set():
            if (now := read_wanted(self._place.layout.wanted)) != wanted:
                wanted = now
                self._start(wanted)
            self._report()
            self._stopping.wait(LOOK_SECONDS)
        self._stop_in_order()

    def _start(self, wanted: list[str]) -> None:
        for server in chosen(self._place, only=wanted):
            if server.name not in self._keepers:
                keeper = Keeper(server, self._place.layout.log(server.name), self._phase_of)
                self._keepers[server.name] = keeper
                keeper.start()

    def _stop_in_order(self) -> None:
        while left := [k.server for k in self._keepers.values() if not k.stopped]:
            for server in leaves_first(left):
                self._keepers[server.name].stop()
            self._report()
            threading.Event().wait(0.05)
        self._report()

    def _phase_of(self, name: str) -> Phase | None:
        keeper = self._keepers.get(name)
        return keeper.state.phase if keeper else None

    def _report(self) -> None:
        servers = tuple(keeper.state for keeper in list(self._keepers.values()))
        state = StackState(os.getpid(), self._place.settings.as_words(), servers)
        if state == self._written:
            return
        try:
            write_state(self._place.layout.state, state)
        except OSError as error:  # a full disk must not stop servers that still run; the next look tries again
            print(f"stack: the state could not be written: {error}", file=sys.stderr, flush=True)
        else:
            self._written = state


def main() -> int:
    try:
        supervisor = Supervisor(Place.of(StackSettings.load()))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        supervisor.run()
    except RatchetError as error:
        print(f"stack: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
