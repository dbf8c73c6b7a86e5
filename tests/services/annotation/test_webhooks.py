import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from services.annotation.webhooks import Forged, Hook
from shared.errors import Unavailable

SECRET = base64.b64encode(b"a secret of ours" * 2).decode()
URL = "http://127.0.0.1:8082/v1/webhooks/argilla"


class Argilla:
    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.asked: list[str] = []

    def subscribe(self, url: str) -> str:
        if self.away:
            raise Unavailable("Argilla is away")
        self.asked.append(url)
        return SECRET


def sent(
    number: int = 1,
    *,
    event: str = "response.created",
    secret: str = SECRET,
    age: timedelta = timedelta(),
    at: str = "t1",
) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"type": event, "version": 1, "timestamp": at, "data": {"id": "r1"}})
    when = datetime.now(UTC) - age
    signature = Webhook(secret).sign(f"msg_{number}", when, body)
    headers = {
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": signature,
    }
    return body.encode(), headers


def test_a_signed_webhook_is_news_once_also_when_each_attempt_has_a_new_id() -> None:
    hook = Hook(Argilla(), URL)
    assert hook.is_news(*sent(1))
    assert not hook.is_news(*sent(2))
    assert hook.is_news(*sent(3, at="t2"))
    assert hook.is_news(*sent(4, event="response.updated"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"secret": base64.b64encode(b"another").decode()},
        {"age": timedelta(minutes=6)},
        {"age": -timedelta(minutes=6)},
    ],
)
def test_another_secret_or_another_time_is_forged(arguments: dict[str, Any]) -> None:
    with pytest.raises(Forged):
        Hook(Argilla(), URL).is_news(*sent(**arguments))


def test_a_changed_body_is_forged() -> None:
    body, headers = sent()
    with pytest.raises(Forged):
        Hook(Argilla(), URL).is_news(body.replace(b"r1", b"r2"), headers)


@pytest.mark.parametrize("signature", ["", "v1,", "v1", "v1,%%%", "v1,AAAA", "v2,AAAA v1a", "é"])
def test_a_signature_of_the_wrong_shape_is_forged(signature: str) -> None:
    body, headers = sent()
    with pytest.raises(Forged):
        Hook(Argilla(), URL).is_news(body, {**headers, "webhook-signature": signature})


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[]", b"null", b"{", b"[" * 100_000])
def test_a_signed_body_that_is_no_object_is_refused(body: bytes) -> None:
    when = datetime.now(UTC)
    signature = Webhook(SECRET).sign("m", when, body.decode("utf-8", "replace"))
    headers = {"webhook-id": "m", "webhook-timestamp": str(int(when.timestamp())), "webhook-signature": signature}
    with pytest.raises(Forged):
        Hook(Argilla(), URL).is_news(body, headers)


def test_without_webhooks_every_call_is_forged() -> None:
    with pytest.raises(Forged):
        Hook(Argilla(), None).is_news(*sent())


def test_the_secret_is_asked_for_once_and_later_when_argilla_is_away() -> None:
    argilla = Argilla(away=True)
    hook = Hook(argilla, URL)
    with pytest.raises(Unavailable):
        hook.is_news(*sent())
    argilla.away = False
    assert hook.is_news(*sent())
    assert hook.is_news(*sent(at="t2"))
    assert argilla.asked == [URL]
