"""What the gateway refuses, in OpenAI's error shape: {"error": {"message", "type", "param", "code"}}.

One class and a constructor for each refusal, so a status and its sentence stand in one place. The official clients
raise their own exceptions from the status, and retry 408, 409, 429 and 5xx by themselves.
"""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from shared.errors import RatchetError

RETRY_AFTER_SECONDS = 2
INVALID = "invalid_request_error"
OVERLOADED = "overloaded_error"
UPSTREAM = "upstream_error"


class Refused(RatchetError):
    def __init__(
        self, status: int, message: str, type: str, code: str, *, param: str | None = None, retry: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type, self.code, self.param = status, message, type, code, param
        self.retry = retry  # tells the client to come back: Retry-After

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})

    def bare(self) -> bytes:
        """The whole HTTP answer, for a connection that closes: no request was understood that could be answered."""
        body, reason = self.body(), HTTPStatus(self.status).phrase
        head = f"HTTP/1.1 {self.status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return head.encode() + b"connection: close\r\n\r\n" + body


def bad_request(message: str, param: str | None = None) -> Refused:
    return Refused(400, message, INVALID, "invalid_request", param=param)


def no_http() -> Refused:
    return bad_request("this is no HTTP/1.1 request that can be read; the connection closes")


def head_too_large() -> Refused:
    return Refused(431, "the request's headers are too many or too large; send fewer", INVALID, "headers_too_large")


def too_large(max_body_bytes: int) -> Refused:
    return Refused(413, f"the body is larger than {max_body_bytes} bytes; send less", INVALID, "body_too_large")


def too_slow(seconds: float) -> Refused:
    return Refused(408, f"the body did not arrive within {seconds:g} s; send it again", INVALID, "body_timeout")


def wrong_method(allowed: str) -> Refused:
    return Refused(405, f"this path only answers {allowed}", INVALID, "method_not_allowed")


def unknown_workload(name: str, known: Iterable[str]) -> Refused:
    message = f"The model {name[:100]!r} does not exist. `model` is a workload here; known: {', '.join(sorted(known))}."
    return Refused(404, message, "not_found_error", "model_not_found", param="model")


def too_many_requests(max_concurrency: int) -> Refused:
    message = f"{max_concurrency} requests are in flight already; try again shortly"
    return Refused(429, message, OVERLOADED, "too_many_requests", retry=True)


def too_many_bodies(max_bytes: int) -> Refused:
    message = f"{max_bytes} bytes of bodies that have not ended wait already; try again shortly"
    return Refused(429, message, OVERLOADED, "too_many_bodies", retry=True)


def spool_full(max_bytes: int) -> Refused:
    message = (
        f"the answer log is full ({max_bytes} bytes wait to be shipped), and no answer leaves unrecorded; "
        "bring the bus back or raise RATCHET_GATEWAY_SPOOL_MAX_BYTES"
    )
    return Refused(503, message, OVERLOADED, "spool_full", retry=True)


def spool_broken(why: object) -> Refused:
    message = f"the answer could not be recorded, so it is withheld: {why}"
    return Refused(503, message, OVERLOADED, "spool_unavailable", retry=True)


def no_replica(model: str, why: str) -> Refused:
    message = f"no model server can answer for {model} now: {why}"
    return Refused(503, message, UPSTREAM, "upstream_unavailable", retry=True)


def not_loaded(model: str) -> Refused:
    message = f"no model server has {model} loaded now; promotion loads it again within seconds"
    return Refused(503, message, UPSTREAM, "version_not_loaded", retry=True)


def upstream_broke(why: str) -> Refused:
    return Refused(502, f"the model server's answer cannot be used: {why}", UPSTREAM, "bad_upstream_answer")


def too_large_to_record(max_bytes: int) -> Refused:
    message = (
        f"the answer is too large to be recorded ({max_bytes} bytes with its request), and no answer leaves "
        "unrecorded; ask for a shorter one, such as with max_tokens"
    )
    return Refused(502, message, UPSTREAM, "answer_too_large")


def upstream_late(why: str) -> Refused:
    return Refused(504, f"the model server was too slow: {why}", UPSTREAM, "upstream_timeout")


def upstream_said(status: int, said: str) -> Refused:
    return Refused(
        status, f"the model server answered {status}: {said}", UPSTREAM, "upstream_error", retry=status >= 500
    )


def a_bug(answer_id: str) -> Refused:
    message = f"the gateway failed on this request; its log has the reason beside {answer_id}"
    return Refused(500, message, "server_error", "internal_error")
