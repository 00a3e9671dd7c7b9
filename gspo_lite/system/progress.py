"""Progress of long work: rich's bar on a terminal, a display that is updated in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

from gspo_lite.system.figures import minutes
from gspo_lite.system.say import in_notebook, messages, say

PLAIN_SECONDS = 10.0  # between two plain lines
DRAWN_SECONDS = 0.2  # between two drawings in a notebook
FONT = "font-size: var(--jp-code-font-size, inherit)"  # of what JupyterLab prints


class View(Protocol):
    """A display of the progress of some work."""

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` parts are done, with the live figures in `text`."""

    def close(self) -> None:
        """Release the terminal; safe to call twice."""


def open_view(title: str, total: int, done: int = 0, *, ends: bool = True) -> View:
    """Return the view that suits the message stream; with `ends`, plain lines include the first and last update."""
    if in_notebook():
        return Display(title, total, done)
    return Bar(title, total, done) if messages().isatty() else Lines(title, total, done, ends)


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
        left = time_left(self.last - self.began, done - self.first, self.total - done)
        say(joined(f"  {self.title} {done}/{self.total}", text, left))

    def close(self) -> None:
        pass


class Display:
    """A bar and live figures in one output of a notebook's cell, which stays there with the time that the work took."""

    def __init__(self, title: str, total: int, done: int):
        from IPython.display import display

        self.title, self.total, self.first, self.done, self.text = title, total, done, done, ""
        self.began = self.drawn = time.perf_counter()
        self.handle: Any = display(self.picture(""), raw=True, display_id=True)

    def update(self, done: int, text: str = "") -> None:
        self.done, self.text = done, text
        now = time.perf_counter()
        if now - self.drawn >= DRAWN_SECONDS:
            self.drawn = now
            left = time_left(now - self.began, done - self.first, self.total - done)
            self.handle.update(self.picture(left), raw=True)

    def close(self) -> None:
        if self.handle is not None:
            spent = f"in {minutes(time.perf_counter() - self.began)}"
            self.handle.update(self.picture(spent), raw=True)
            self.handle = None

    def picture(self, seconds: str) -> dict[str, str]:
        """Return the state of the work by type of content, of which a notebook shows the richest it knows."""
        figures = joined(f"{self.done}/{self.total}", self.text, seconds)
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>'
        html = f'<pre style="margin: 0; {FONT}">  {escape(self.title)} {bar} {escape(figures)}</pre>'
        return {"text/plain": f"  {self.title} {figures}", "text/html": html}


def joined(*parts: str) -> str:
    """Return the parts that are not empty on one line."""
    return "  ".join(part for part in parts if part)


def time_left(seconds: float, done: int, to_do: int) -> str:
    """Return the time that the rest will take at the pace so far."""
    return f"{minutes(seconds / max(done, 1) * to_do)} left"


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
