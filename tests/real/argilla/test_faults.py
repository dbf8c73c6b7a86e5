"""Argilla, its search, its queue or its webhooks away: afterwards our corrections are its responses, each once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from infra.native.state import Phase, StackState, running
from services.annotation.argilla_desk import ArgillaDesk
from services.annotation.desk import Verdict
from shared.errors import Unavailable
from tests.real.argilla.conftest import DeskOf
from tests.real.argilla.desk_world import NET, POWER, DeskWorld
from tests.real.argilla.webhook_listener import listening
from tests.real.stack import RunningStack, until

pytestmark = [pytest.mark.real, pytest.mark.slow]


@contextmanager
def away(servers: RunningStack, name: str, how: signal.Signals) -> Iterator[None]:
    """Killed, or stalled as when it hangs; afterwards the stack is whole again."""
    pid = servers.server(name).pid
    assert pid
    os.kill(pid, how)
    try:
        yield
    finally:
        if how is signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
        else:
            until(lambda: servers.server(name).pid not in (None, pid), 60)
        until(lambda: all(server.phase is Phase.HEALTHY for server in _state(servers).servers), 120)


def _state(servers: RunningStack) -> StackState:
    state = running(servers.place.layout)
    assert state is not None
    return state


def _sweeps(desk: DeskWorld) -> None:
    """The turn in which the database is read; in a deployment it comes by itself, here nobody waits for it."""
    desk.desk.sweep_next()
    desk.turn()


def test_a_lost_webhook_costs_nothing_and_one_that_comes_is_looked_at(desk_of: DeskOf) -> None:
    with listening() as listener:
        desk = desk_of(webhook_url=listener.url)
        desk.shown("a1", "a2")
        hook = listener.hook_of(desk.desk)
        desk.says("ada", "a1", "fix", POWER)
        until(lambda: listener.events() != [], 60)
        news = [hook.is_news(body, headers) for body, headers in listener.events()]
        assert news[0], "the signature of the real server is verified"
        assert not hook.is_news(*listener.events()[0])
        listener.deaf = True
        desk.says("ada", "a2", "good", NET)
        desk.turn()
        desk.assert_equal_to_argilla()
        assert desk.stands() == {"a1": ("fix", POWER), "a2": ("good", None)}


def test_argilla_killed_between_two_answers(desk: DeskWorld, servers: RunningStack) -> None:
    desk.shown("k1", "k2")
    desk.says("ada", "k1", "fix", POWER)
    with away(servers, "argilla", signal.SIGKILL), pytest.raises(Unavailable):
        desk.collect()
    desk.says("ada", "k2", "good", NET)
    desk.turn_until(lambda: {"k1", "k2"} <= desk.stands().keys())
    desk.assert_equal_to_argilla()


def test_answers_given_while_the_search_was_away_come_back_and_the_index_is_mended(
    desk: DeskWorld, servers: RunningStack
) -> None:
    desk.shown("o1", "o2")
    key = desk.key("ada")
    record = desk.argilla.records(desk.dataset())["o1"]
    with away(servers, "opensearch", signal.SIGKILL):
        body = {"status": "submitted", "values": {"verdict": {"value": "fix"}, "ideal": {"value": POWER}}}
        answered = desk.argilla.call("POST", f"/records/{record['id']}/responses", key=key, json=body)
    assert answered.status_code == 500
    with away(servers, "opensearch", signal.SIGKILL):
        desk.world.answered("o3", desk.world.prompt_in("train", start=9000), answer=NET)
        with pytest.raises(Unavailable):
            desk.fill()
    assert desk.world.states()["o3"] == "nominated"
    assert {"o1", "o2", "o3"} <= set(desk.argilla.records(desk.dataset())), "500, and it was saved"

    desk.turn_until(lambda: desk.world.states()["o3"] == "waiting" and "o1" in desk.stands())
    desk.assert_equal_to_argilla()
    assert "o1" in {verdict.sample_id for verdict in desk.desk.pull()}, "by the index, which has the answer now"
    desk.says("ada", "o3", "good", NET)
    desk.turn_until(lambda: "o3" in desk.stands())
    desk.assert_equal_to_argilla()


def test_answers_given_while_redis_was_away_come_back(desk_of: DeskOf, servers: RunningStack) -> None:
    with listening() as listener:
        desk = desk_of(webhook_url=listener.url)
        desk.shown("a1", "a2")
        desk.key("ada")
        with away(servers, "redis", signal.SIGSTOP):
            record = desk.argilla.records(desk.dataset())["a1"]
            body = {"status": "submitted", "values": {"verdict": {"value": "good"}}}
            # Argilla waits for Redis for ever; the annotator's browser does not.
            with pytest.raises(httpx.ReadTimeout):
                desk.argilla.call(
                    "POST", f"/records/{record['id']}/responses", key=desk.key("ada"), json=body, timeout=2
                )
        desk.says("ada", "a2", "discard", None)
        _sweeps(desk)
        assert set(desk.stands()) == {"a1", "a2"}
        desk.assert_equal_to_argilla()


def test_a_turn_that_was_cut_short_anywhere_is_made_good_by_the_next(desk: DeskWorld) -> None:
    desk.shown("a1", "a2", "a3")
    for number in (1, 2, 3):
        desk.says("ada", f"a{number}", "fix", POWER)
        desk.says("bob", f"a{number}", "fix", '{"queue": "phones"}')
    pulled = desk.desk.pull()

    class CutShort(ArgillaDesk):
        def __init__(self) -> None:
            pass

        def pull(self) -> list[Verdict]:
            return pulled[:-2]

    whole, desk.desk = desk.desk, CutShort()
    assert desk.collect() == 4
    desk.desk = whole
    assert desk.collect() == 2
    desk.says("bob", "a1", "discard", None)
    desk.says("ada", "a2", "good", NET)
    assert desk.collect() == 2
    assert desk.collect() == 0
    desk.assert_equal_to_argilla()


def test_a_stalled_argilla_is_unavailable_and_answers_again(desk: DeskWorld, servers: RunningStack) -> None:
    desk.shown("s1")
    desk.says("ada", "s1", "fix", POWER)
    client = desk.desk._open().http_client
    client.timeout, usual = httpx.Timeout(1.0), client.timeout
    with away(servers, "argilla", signal.SIGSTOP), pytest.raises(Unavailable, match="Timeout"):
        desk.collect()
    client.timeout = usual
    desk.turn_until(lambda: "s1" in desk.stands())
    desk.assert_equal_to_argilla()
