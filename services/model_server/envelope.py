"""What every answer has around it: the request's id, and a count in the metrics.

The caller's `X-Request-Id` comes back in the header and as the tail of the answer's id; without one both are made up.
"""

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.model_server.metrics import REQUESTS

ROUTES = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/load_lora_adapter": "load",
    "/v1/unload_lora_adapter": "unload",
    "/v1/models": "models",
}
PRINTABLE = re.compile(rb"[\x21-\x7e]{1,200}")


class Envelope:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if PRINTABLE.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["answer_id"] = request_id if given else request_id[:16]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                route = ROUTES.get(scope["path"])
                if route is not None:
                    REQUESTS.labels(route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_with_id)
