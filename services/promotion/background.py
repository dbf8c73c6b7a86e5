"""A thread that does one thing again and again: at a pause, or as soon as it is woken.

Unavailable is logged and the next turn tries again; anything else is a bug: `on_crash` is called and the thread ends.
"""

import logging
import threading
from collections.abc import Callable

from shared.errors import Unavailable

log = logging.getLogger(__name__)


class Repeating(threading.Thread):
    def __init__(
        self, name: str, act: Callable[[], None], pause_seconds: float, on_crash: Callable[[BaseException], None]
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._act, self._pause_seconds, self._on_crash = act, pause_seconds, on_crash
        self._woken, self._stopping = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._act()
            except Unavailable as error:
                log.warning("%s waits: %s", self.name, error)
            except BaseException as error:
                log.exception("%s stops", self.name)
                self._on_crash(error)
                return
            self._woken.wait(self._pause_seconds)
            self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self.join(timeout=15)
