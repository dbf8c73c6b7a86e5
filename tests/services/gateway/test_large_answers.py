"""Every answer that was released is in the log, however large: what cannot be recorded is not released."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from services.gateway.record_room import GROWTH, RecordRoom
from shared.bus import MAX_RECORD_BYTES, Outgoing
from shared.events import AnswerServed
from tests.services.gateway.conftest import HELLO, GatewayProcess
from tests.services.gateway.scripted import Asked, ScriptedServer, chunk

STREAM = {**HELLO, "stream": True}
PLAIN, ESCAPED = "x" * 5_000_000, "\x01" * 1_000_000  # the latter is 6 bytes a character in JSON


@pytest.fixture(scope="module")
def roomy(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the limits as they come."""
    process = GatewayProcess(tmp_path_factory.mktemp("roomy"), upstream.url).start()
    yield process
    process.close()


@pytest.fixture
def says(upstream: ScriptedServer) -> Iterator[Callable[..., None]]:
    """Makes the model server say a text, streamed in pieces of so many characters."""
    plain = upstream.script

    def make(text: str, piece_chars: int = 1000) -> None:
        pieces = [text[at : at + piece_chars] for at in range(0, len(text), piece_chars)]

        async def script(asked: Asked) -> None:
            if asked.json.get("stream"):
                await asked.stream(pieces)
            else:
                await asked.complete(text)

        upstream.script = script

    yield make
    upstream.script = plain


def released(answer: httpx.Response) -> str:
    """The text that reached the client of a stream."""
    events = [event.removeprefix(b"data: ") for event in answer.content.split(b"\n\n") if b'"delta"' in event]
    return "".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events)


@pytest.mark.parametrize("text", [PLAIN, ESCAPED], ids=["plain", "escaped"])
def test_an_answer_too_large_for_its_record_is_502_and_not_released(
    roomy: GatewayProcess, says: Callable[..., None], text: str
) -> None:
    says(text)
    answer = roomy.ask()
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "answer_too_large")
    assert len(answer.content) < 1000
    says("short")
    good = roomy.ask()
    roomy.answer(good.headers["x-ratchet-answer-id"])
    assert answer.headers["x-ratchet-answer-id"] not in [e.answer_id for e in roomy.events(AnswerServed)]


@pytest.mark.parametrize("piece_chars", [1000, 5_000_000], ids=["small events", "one event"])
@pytest.mark.parametrize("text", [PLAIN, ESCAPED], ids=["plain", "escaped"])
def test_a_stream_too_large_for_its_record_is_cut_and_recorded_as_released(
    roomy: GatewayProcess, says: Callable[..., None], text: str, piece_chars: int
) -> None:
    says(text, piece_chars)
    answer = roomy.ask(STREAM)
    *_, last = filter(None, answer.content.split(b"\n\n"))
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "answer_too_large"
    assert b"[DONE]" not in answer.content
    recorded = roomy.answer(answer.headers["x-ratchet-answer-id"])
    assert (recorded.finish_reason, recorded.client_abort) == ("error", False)
    assert recorded.answer == released(answer) == text[: len(recorded.answer)]
    if piece_chars == 1000:
        assert len(json.dumps(recorded.answer)) > MAX_RECORD_BYTES * 0.8, "it was cut too early"


@pytest.mark.parametrize("request_body", [HELLO, STREAM], ids=["whole", "stream"])
def test_an_answer_whose_wire_is_larger_than_its_record_is_released(
    roomy: GatewayProcess, says: Callable[..., None], request_body: dict[str, object]
) -> None:
    says("\u00e9" * 1_000_000, 100)  # 6 bytes a character on the wire, 2 in the record; 100 bytes of frame an event
    answer = roomy.ask(request_body)
    assert answer.status_code == 200
    assert len(answer.content) > MAX_RECORD_BYTES
    recorded = roomy.answer(answer.headers["x-ratchet-answer-id"])
    assert (recorded.answer, recorded.finish_reason) == ("\u00e9" * 1_000_000, "stop")


def test_a_large_request_leaves_less_room_to_its_answer(roomy: GatewayProcess, says: Callable[..., None]) -> None:
    large = {"messages": [{"role": "user", "content": "q" * 2_000_000}]}
    says("x" * 2_500_000)
    assert roomy.ask({**HELLO, **large}).status_code == 502
    cut = roomy.ask({**STREAM, **large})
    assert roomy.answer(cut.headers["x-ratchet-answer-id"]).finish_reason == "error"
    says("x" * 2_000_000)
    assert roomy.ask({**HELLO, **large}).status_code == 200
    whole = roomy.ask({**STREAM, **large})
    assert roomy.answer(whole.headers["x-ratchet-answer-id"]).finish_reason == "stop"


def test_a_cut_stream_leaves_no_connection_behind_that_hears_nothing(
    roomy: GatewayProcess, says: Callable[..., None]
) -> None:
    for _ in range(10):  # whether the rest has arrived when it is cut is a matter of luck
        says(PLAIN, 5_000_000)
        roomy.ask(STREAM)
        says("short")
        assert roomy.ask().status_code == 200


def empty(left: int) -> Outgoing:
    """A record that leaves about so many bytes to its answer."""
    return Outgoing("ratchet.answers", "k", b"x" * (MAX_RECORD_BYTES - 1025 - left))


def test_room_is_measured_by_what_is_recorded_and_not_by_what_arrives() -> None:
    room = RecordRoom(empty(10_000))
    pieces = 0
    while room.takes(chunk({"content": "12345678"})):
        pieces += 1
    assert 900 < pieces <= 1250, "at the end each piece is measured alone, with its quotes"
    assert not room.takes(b"\n")


def test_tool_calls_and_numbers_that_grow_count_too() -> None:
    numbers = b"[" + b",".join([b"1e15"] * 1000) + b"]"
    piece = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"x":%b}]}}]}\n\n' % numbers
    assert len(piece) < 10_000 < len(piece) * GROWTH
    assert not RecordRoom(empty(10_000)).takes(piece)


def test_a_request_that_fills_the_record_leaves_no_room() -> None:
    assert RecordRoom(empty(-1)).is_used_up
    assert not RecordRoom(empty(0)).is_used_up
