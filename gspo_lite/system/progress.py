"""Progress of long work: rich's bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from gspo_lite.system.figures import minutes
from gspo_lite.system.say import in_notebook, messages, say

PLAIN_SECONDS = 10.0  # between two plain lines


class View(Protocol):
    """A display of the progress of some work."""

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` parts are done, with the live figures in `text`."""

    def close(self) -> None:
        """Release the terminal; safe to call twice."""


def open_view(title: str, total: int, done: int = 0, *, ends: bool = True) -> View:
    """Return the view that suits the message stream; with `ends`, plain lines include the first and last update."""
    # In a notebook rich draws through ipywidgets, which Colab has but a bare Jupyter may not.
    draws = find_spec("ipywidgets") is not None if in_notebook() else messages().isatty()
    return Bar(title, total, done) if draws else Lines(title, total, done, ends)


@contextmanager
def live(title: str, total: int, *, ends: bool = True) -> Iterator[View]:
    """Open a view and close it whatever happens."""
    view = open_view(title, total, ends=ends)
    try:
        yield view
    finally:
        view.close()


class Lines:
    """Plain lines, one every `PLAIN_SECONDS`."""

    def __init__(self, title: str, total: int, done: int, ends: bool):
        self.title, self.total, self.first, self.ends = title, total, done, ends
        self.began = self.last = time.perf_counter()

    def update(self, done: int, text: str = "") -> None:
        at_an_end = self.ends and done in (self.first + 1, self.total)
        if not at_an_end and (time.perf_counter() - self.last < PLAIN_SECONDS or done == self.total):
            return
        self.last = time.perf_counter()
        seconds_left = (self.last - self.began) / max(done - self.first, 1) * (self.total - done)
        parts = [f"{self.title} {done}/{self.total}", text, f"{minutes(seconds_left)} left"]
        say("  " + "  ".join(part for part in parts if part))

    def close(self) -> None:
        pass


class Bar:
    """A bar followed by live figures, on one line however narrow the terminal is."""

    def __init__(self, title: str, total: int, done: int):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column
        from rich.text import Text

        class Figures(ProgressColumn):
            """The live figures: the only column that gives way on a narrow terminal, beside the bar."""

            def render(self, task: Any) -> Text:
                return Text(task.fields["text"], no_wrap=True, overflow="ellipsis")

        self.bar = Progress(
            TextColumn(f"  {title}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            Figures(),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=Console(file=messages()),
            transient=True,
        )
        self.task = self.bar.add_task("", total=total, completed=done, text="")
        self.bar.start()

    def update(self, done: int, text: str = "") -> None:
        self.bar.update(self.task, completed=done, text=text)

    def close(self) -> None:
        self.bar.stop()
