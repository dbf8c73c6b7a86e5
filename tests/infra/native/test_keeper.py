import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.native.keeper import Keeper
from infra.native.server import NotHealthy, Runs, Server, nothing_to_prepare
from infra.native.state import Phase, is_alive
from shared.errors import BadConfig

FOREVER = "import signal; signal.pause()"


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Kept:
    """A keeper over a small real process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.right = True
        self.phases: dict[str, Phase] = {}
        self.keepers: list[Keeper] = []
        (folder / "small.log").touch()

    def keep(
        self,
        script: str = FOREVER,
        prepare: Callable[[Runs], None] = nothing_to_prepare,
        needs: tuple[str, ...] = (),
        stop_seconds: float = 10,
    ) -> Keeper:
        server = Server(
            name="small",
            port=0,
            install=lambda _: None,
            command=[sys.executable, "-S", "-c", script],
            health=self._health,
            needs=needs,
            prepare=prepare,
            stop_seconds=stop_seconds,
        )
        keeper = Keeper(server, self.folder / "small.log", self.phases.get)
        self.keepers.append(keeper)
        keeper.start()
        return keeper

    def _health(self) -> None:
        if not self.right:
            raise NotHealthy("it answered nonsense")

    def log(self) -> str:
        return (self.folder / "small.log").read_text()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    for keeper in kept.keepers:
        keeper.stop()
    until(lambda: all(keeper.stopped for keeper in kept.keepers))


def healthy(keeper: Keeper) -> bool:
    return keeper.state.phase is Phase.HEALTHY


def test_a_server_waits_for_what_it_needs(kept: Kept) -> None:
    keeper = kept.keep(needs=("other",))
    until(lambda: keeper.state.detail == "for other")
    assert keeper.state.pid is None
    kept.phases["other"] = Phase.HEALTHY
    until(lambda: healthy(keeper))


def test_a_server_that_dies_comes_back_and_its_log_says_how_it_died(kept: Kept) -> None:
    keeper = kept.keep()
    until(lambda: healthy(keeper))
    first = keeper.state.pid
    assert first
    os.kill(first, signal.SIGKILL)
    until(lambda: healthy(keeper) and keeper.state.pid != first)
    assert (keeper.state.deaths, keeper.state.failures) == (1, 1)
    assert "ended with signal SIGKILL" in kept.log()


def test_a_wrong_setting_is_not_tried_again(kept: Kept) -> None:
    def refuse(_: Runs) -> None:
        raise BadConfig("RATCHET_STACK_X=1: should be 2")

    keeper = kept.keep(prepare=refuse)
    until(lambda: keeper.state.phase is Phase.FAILED)
    assert keeper.state.detail == "RATCHET_STACK_X=1: should be 2"
    assert keeper.state.deaths == 0


def test_a_preparation_that_fails_is_tried_again(kept: Kept) -> None:
    def prepare(run: Runs) -> None:
        run(["sh", "-c", f"test -e {kept.folder}/second || {{ touch {kept.folder}/second; echo no luck; exit 9; }}"])

    keeper = kept.keep(prepare=prepare)
    until(lambda: healthy(keeper))
    assert keeper.state.deaths == 1
    assert "`sh ...` ended with 9: no luck" in kept.log()


def test_a_server_without_a_right_answer_yet_is_starting(kept: Kept) -> None:
    kept.right = False
    keeper = kept.keep()
    until(lambda: keeper.state.detail == "it answered nonsense")
    assert keeper.state.phase is Phase.STARTING
    kept.right = True
    until(lambda: healthy(keeper))


def test_a_server_that_ignores_the_signal_is_killed_with_its_children(kept: Kept) -> None:
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print('child', child, flush=True)\n"
        "while True: signal.pause()\n"
    )
    keeper = kept.keep(script, stop_seconds=0.5)
    until(lambda: "child" in kept.log())
    child = int(kept.log().split()[1])
    keeper.stop()
    until(lambda: keeper.stopped)
    assert not is_alive(child)
    assert keeper.state.phase is Phase.STOPPED
    assert "killed" in kept.log()


def test_a_command_that_is_missing_is_told_and_tried_again(kept: Kept) -> None:
    def prepare(run: Runs) -> None:
        run(["no-such-command"])

    keeper = kept.keep(prepare=prepare)
    until(lambda: keeper.state.failures >= 2)
    assert "no-such-command" in kept.log()
