import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.answers import Answer, is_done, parse_answer, rebuild_stream, split_before_done
from services.gateway.capture import _Recorded, record_answer
from services.gateway.refusals import Refused
from services.gateway.wire import messages_for, parse_chat_request, system_message, upstream_body
from shared.events import AnswerServed, decode
from tests.services.gateway.scripted import chunk, stream_events

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
QUICK = settings(deadline=None, max_examples=60)  # a busy machine is no failure
OURS = {"model", "messages", "metadata", "stream", "user"}


def body_of(**extra: Any) -> bytes:
    return json.dumps({"model": "plain", "messages": [{"role": "user", "content": "hi"}], **extra}).encode()


@QUICK
@given(st.dictionaries(TEXT.filter(lambda name: name not in OURS), VALUES))
def test_unknown_fields_pass_through_untouched(extra: dict[str, Any]) -> None:
    request = parse_chat_request(body_of(**extra))
    sent = json.loads(upstream_body(request, b'"tiny"', request.fields["messages"]))
    assert sent == {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **extra}


@QUICK
@given(st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_request_or_refused_in_words(body: bytes) -> None:
    with contextlib.suppress(Refused):
        parse_chat_request(body)


@QUICK
@given(VALUES, TEXT)
def test_what_is_recorded_can_be_decoded_again(extra: Any, answer: str) -> None:
    request = parse_chat_request(body_of(extra=extra, metadata={"group": "g"}, user="u"))
    messages = messages_for(request, system_message("Be kind."))
    record = record_answer("a1", request, "plain@base-00000000", messages, Answer(answer), latency_seconds=0.5)
    envelope, event = decode(record.value)
    assert isinstance(event, AnswerServed)
    assert envelope.id == event.answer_id == record.key == "a1"
    assert event.messages == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert event.parameters == {"extra": extra, "metadata": {"group": "g"}, "user": "u"}
    assert (event.answer, event.group, event.user) == (answer, "g", "u")


def test_the_record_has_every_field_of_the_event() -> None:
    assert set(_Recorded.__struct_fields__) == set(AnswerServed.__struct_fields__)


def test_nul_in_an_answer_is_recorded_as_a_replacement_character() -> None:
    request = parse_chat_request(body_of())
    record = record_answer("a", request, "v", request.fields["messages"], Answer("a\0b"), latency_seconds=0)
    event = decode(record.value)[1]
    assert isinstance(event, AnswerServed)
    assert event.answer == "a\ufffdb"


@QUICK
@given(st.lists(TEXT, min_size=1), st.lists(st.integers(1, 200)), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_a_stream_cut_anywhere_is_relayed_whole_and_only_its_end_is_held(
    texts: list[str], cuts: list[int], line_end: bytes
) -> None:
    whole = b"".join(stream_events(texts)).replace(b"\n\n", line_end)
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(whole[start : start + cut])
        start += cut
    pieces.append(whole[start:])
    sent, held = b"", b""
    for piece in pieces:
        ready, held = split_before_done(held + piece)
        assert b"\ndata: [DONE]" not in b"\n" + ready
        sent += ready
    assert sent + held == whole
    assert is_done(held)
    assert rebuild_stream(sent).text == "".join(texts)
    assert rebuild_stream(sent).finish_reason == "stop"


def test_a_stream_cut_off_in_a_line_keeps_what_was_whole() -> None:
    assert rebuild_stream(chunk({"content": "one "}) + b'data: {"choi').text == "one "


def test_the_first_choice_is_the_one_with_index_0() -> None:
    choices = [{"index": i, "message": {"role": "assistant", "content": f"c{i}"}} for i in (1, 0)]
    assert parse_answer(msgspec.json.encode({"choices": choices})).text == "c0"


def test_logprobs_are_averaged_over_answer_tokens() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}]}
    choice = {"index": 0, "message": {"content": "ab"}, "logprobs": logprobs, "finish_reason": "length"}
    answer = parse_answer(msgspec.json.encode({"choices": [choice]}))
    assert (answer.mean_logprob, answer.finish_reason) == (-1.5, "length")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices":{}}', b'{"choices":[{"index":1}]}', b"\xff"])
def test_what_is_no_completion_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        parse_answer(body)
    assert refusal.value.status == 502
