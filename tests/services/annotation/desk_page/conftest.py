"""Headless Chromium, and the desk's page in it over a double of its calls."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from tests.services.annotation.desk_page.double import desk_app
from tests.services.annotation.desk_page.screen import SCHEMA, Desk

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail("no /usr/bin/chromium; apt-get install chromium, or leave these out with -m 'not browser'")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def desk_of(browser: Browser) -> Iterator[Callable[..., Desk]]:
    stops: list[Callable[[], None]] = []

    def start(items: list[dict[str, Any]], *, schema: Any = SCHEMA, width: int = 1280) -> Desk:
        server = uvicorn.Server(uvicorn.Config(desk_app(items, schema), port=0, log_level="error"))
        socket = server.config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        context = browser.new_context(viewport={"width": width, "height": 800}, locale="en-GB")
        context.set_default_timeout(15_000)

        def stop() -> None:
            context.close()
            server.should_exit = True
            thread.join()

        stops.append(stop)
        return Desk(f"http://127.0.0.1:{socket.getsockname()[1]}/", items, context.new_page())

    yield start
    for stop in stops:
        stop()
