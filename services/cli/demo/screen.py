"""What the demo shows: live bars on a terminal, plain lines elsewhere (a log, a pipe)."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from services.cli.plain import cell

PLAIN_LINE_EVERY_SECONDS = 5.0


class Screen:
    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>5.0f}/{task.total:.0f}"),
            TextColumn("[dim]{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[float, float]] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, title: str) -> None:
        self.console.print(f"[bold]{self.elapsed():6.1f} s  {title}[/bold]")

    def say(self, text: str, style: str = "") -> None:
        self.console.print(cell(f"          {text}"), style=style, highlight=False)

    def progress(self, name: str, done: float, total: float, note: str = "") -> None:
        if self._live:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=total, note=note)
            self._progress.update(self._tasks[name], completed=done, total=total, note=note)
            return
        last_done, last_at = self._said.get(name, (-1.0, 0.0))
        due = time.monotonic() - last_at > PLAIN_LINE_EVERY_SECONDS or done >= total
        if due and done != last_done:
            self._said[name] = (done, time.monotonic())
            self.say(f"{name}: {done:.0f}/{total:.0f} {note}")

    def elapsed(self) -> float:
        return time.monotonic() - self._began
