"""How far long work is: a bar on a terminal, one display that is renewed in a notebook, plain lines elsewhere.

Floor 0: the standard library, and rich or IPython where there is something for them to draw on. Must not know what
the work is.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

PLAIN_SECONDS = 10.0  # between plain lines
PAGE_SECONDS = 0.5  # between two states of a notebook's display


class View(Protocol):
    """What shows how far the work is."""

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` parts are done, with the live figures in `text`."""

    def close(self) -> None:
        """Give the terminal back; safe to call twice."""


def open_view(title: str, total: int, done: int = 0, *, ends: bool = True) -> View:
    """The view that fits what stderr is.

    Args:
        ends: as plain lines, show the first and the last update however soon they come.
    """
    if in_notebook():
        return Page(title, total, done)
    return Bar(title, total, done) if sys.stderr.isatty() else Lines(title, total, done, ends)


@contextmanager
def live(title: str, total: int, *, ends: bool = True) -> Iterator[View]:
    """A view that is closed whatever happens."""
    view = open_view(title, total, ends=ends)
    try:
        yield view
    finally:
        view.close()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, Jupyter's or Colab's."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class Clock:
    """Time since the work began, and what is left of it at the pace so far."""

    def __init__(self, total: int, done: int):
        self.total, self.first, self.began = total, done, time.perf_counter()

    def left(self, done: int) -> str:
        """`m:ss` still to come."""
        seconds = (time.perf_counter() - self.began) / max(done - self.first, 1) * (self.total - done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Lines:
    """Plain lines, one every ten seconds."""

    def __init__(self, title: str, total: int, done: int, ends: bool):
        self.title, self.total, self.ends = title, total, ends
        self.clock = Clock(total, done)
        self.last = self.clock.began

    def update(self, done: int, text: str = "") -> None:
        at_an_end = self.ends and done in (self.clock.first + 1, self.total)
        if not at_an_end and (time.perf_counter() - self.last < PLAIN_SECONDS or done == self.total):
            return
        self.last = time.perf_counter()
        parts = [f"{self.title} {done}/{self.total}", text, f"{self.clock.left(done)} left"]
        with suppress(OSError):  # a closed terminal must not end what was to outlive it
            print("  " + "  ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A bar with the live figures behind it, in one line however narrow the terminal is."""

    def __init__(self, title: str, total: int, done: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        one_line = Column(no_wrap=True, overflow="ellipsis")
        self.bar = Progress(
            TextColumn(f"  {title}", table_column=one_line),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", table_column=one_line, markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task("", total=total, completed=done, text="")
        self.bar.start()

    def update(self, done: int, text: str = "") -> None:
        self.bar.update(self.task, completed=done, text=text)

    def close(self) -> None:
        self.bar.stop()


class Page:
    """One display of a notebook, renewed in place."""

    def __init__(self, title: str, total: int, done: int):
        self.title, self.total = title, total
        self.clock = Clock(total, done)
        self.last, self.shown, self.handle = 0.0, (done, ""), None
        self.show(done, "")

    def update(self, done: int, text: str = "") -> None:
        self.shown = (done, text)
        if time.perf_counter() - self.last >= PAGE_SECONDS or done == self.total:
            self.show(done, text)

    def show(self, done: int, text: str) -> None:
        """Draw this state."""
        from IPython.display import HTML, display

        self.last = time.perf_counter()
        left = "" if done in (self.clock.first, self.total) else f"{self.clock.left(done)} left"
        words = "&ensp;".join(html.escape(part) for part in (f"{done}/{self.total}", text, left) if part)
        name = html.escape(self.title)
        bar = f'<progress value="{done}" max="{self.total}" aria-label="{name}"></progress>'
        state: Any = HTML(f"<div>{name} {bar} {words}</div>")
        if self.handle is None:
            self.handle = display(state, display_id=True)
        else:
            self.handle.update(state)

    def close(self) -> None:
        self.show(*self.shown)
