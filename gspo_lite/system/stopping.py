"""Signals that end a run: raised at once, or held back while an operation must not be interrupted.

    SIGINT   Interrupted, exit 130; on the command line a second one exits at once
    SIGTERM  Terminated, exit 143
    SIGHUP   Terminated, exit 129; ignored if it was ignored before, as under nohup

Must not know what is saved or trained.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Terminated(BaseException):
    """SIGTERM or SIGHUP was received; not an `Exception`, so that code which catches errors of rewards lets it pass."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class Interrupted(KeyboardInterrupt):
    """SIGINT was received."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback through all libraries."""
        return ["Interrupted"]


class Received:
    """The signals received so far; one instance, as signals belong to the process."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.waiting: int | None = None  # received while signals were held back
        self.held = False
        self.exit_at_once = False  # at the second Ctrl-C


received = Received()


def install() -> None:
    """Handle the signals on the command line, where a second Ctrl-C ends the process without a message."""
    received.exit_at_once = True
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, take)


@contextmanager
def listening() -> Iterator[None]:
    """Handle Ctrl-C without `install` too: the interrupt button of a notebook must not cut a step in two."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not take
    before: Any = signal.signal(signal.SIGINT, take) if mine else None
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)
            forget()


@contextmanager
def deferred() -> Iterator[None]:
    """Hold signals back where the process goes on: an import cut in two cannot be repeated in it."""
    if received.exit_at_once:
        yield
        return
    hold()
    try:
        yield
    finally:
        release()


def take(signum: int, _: FrameType | None = None) -> None:
    """Handle one signal."""
    again = received.first is not None and received.exit_at_once
    received.first = signum if received.first is None else received.first
    if again and signum == signal.SIGINT:
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
        os._exit(130)
    if again:
        return  # the run is already ending; SIGKILL is left for those who cannot wait
    if received.held:
        received.waiting = signum
    else:
        raise_for(signum)


def raise_for(signum: int) -> None:
    """Raise the exception of a signal."""
    raise Interrupted if signum == signal.SIGINT else Terminated(signum)


def hold() -> None:
    """Hold signals back until `release`."""
    received.held = True


def release() -> None:
    """Stop holding signals back, and raise the one that waited."""
    received.held = False
    waiting, received.waiting = received.waiting, None
    if waiting is not None:
        raise_for(waiting)


def forget() -> None:
    """Start over after a signal was handled in a process that continues."""
    received.first = received.waiting = None
    received.held = False
