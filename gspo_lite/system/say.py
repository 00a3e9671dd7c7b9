"""Messages for the user while something runs, printed by the first process only.

They go to stderr, because stdout is for results; in a notebook, which shows stderr as an error, to stdout.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TextIO

from gspo_lite.system import processes


def say(text: str) -> None:
    """Print one message."""
    if not processes.is_main():
        return
    with suppress(OSError):  # a closed terminal must not end a run that should outlive it
        print(text, file=messages(), flush=True)


def warn(message: str, hint: str | None = None) -> None:
    """Print a warning, with the remedy on a second line."""
    say(f"warning: {message}" + (f"\nhint: {hint}" if hint else ""))


def messages() -> TextIO:
    """Return the stream that messages go to."""
    return sys.stdout if in_notebook() else sys.stderr


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, Jupyter's or Colab's."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
