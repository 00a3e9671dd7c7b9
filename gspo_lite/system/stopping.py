"""Signals that end a run: each is asked for at once, held back while something must not be cut in two.

    SIGINT   KeyboardInterrupt, exit 130; the second leaves at once on the command line
    SIGTERM  Terminated, exit 143
    SIGHUP   Terminated, exit 129; ignored where it was ignored before, as under nohup

Floor 0: the standard library only. Must not know what is saved or trained.
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
    """SIGTERM or SIGHUP came; no `Exception`, so that nothing which guards against errors of rewards takes it for one.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class Asked:
    """What has been asked for so far; one per process, as signals are."""

    def __init__(self) -> None:
        self.first: int | None = None  # the first signal that came
        self.waiting: int | None = None  # one that came while held back
        self.held = False
        self.leave_at_once = False  # at the second Ctrl-C


asked = Asked()


def install() -> None:
    """Take the signals for the command line, where a second Ctrl-C ends the process without a word."""
    asked.leave_at_once = True
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, take)


@contextmanager
def listening() -> Iterator[None]:
    """Take Ctrl-C here too where nothing was installed: a notebook's interrupt button must not cut a step in two."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not take
    before: Any = signal.signal(signal.SIGINT, take) if mine else None
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)
            forget()


def take(signum: int, _: FrameType | None = None) -> None:
    """One signal came."""
    again, asked.first = asked.first, signum if asked.first is None else asked.first
    if signum == signal.SIGINT and again is not None and asked.leave_at_once:
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
        os._exit(130)
    if again is not None and asked.leave_at_once:
        return  # it is being done; who cannot wait has SIGKILL
    if asked.held:
        asked.waiting = signum
    else:
        ask(signum)


def ask(signum: int) -> None:
    """Raise what stands for a signal."""
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)


def hold() -> None:
    """Hold signals back from here on."""
    asked.held = True


def release() -> None:
    """Let signals through again, and the one that waited at once."""
    asked.held = False
    waiting, asked.waiting = asked.waiting, None
    if waiting is not None:
        ask(waiting)


def forget() -> None:
    """Begin again, after a signal was dealt with in a process that lives on."""
    asked.first = asked.waiting = None
    asked.held = False
