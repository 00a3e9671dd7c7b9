"""The command line. Heavy imports are inside the commands that need them, so that light commands answer at once.

Results go to stdout, messages to stderr. Exit codes, from `errors.py`: 0 done, 2 wrong recipe or command line, 3 this
machine lacks something, 4 the run failed; 129, 130 and 143 ended by a signal.
"""

from __future__ import annotations

import os
import sys
import traceback

from gspo_lite.cli import chat, export, push, rewards, runs, tools  # noqa: F401, each module registers its commands
from gspo_lite.cli.shared import app, printable
from gspo_lite.errors import GspoLiteError, UsageError
from gspo_lite.system import redaction, stopping
from gspo_lite.system.processes import is_main


def main() -> None:
    """Run a command, turning errors into one message and an exit code; the entry point."""
    stopping.install()
    redaction.note_options(sys.argv)
    redaction.guard_streams()
    try:
        app(standalone_mode=True)
    except GspoLiteError as error:
        tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        exit_after_signal("interrupted", 130)
    except stopping.Terminated as stop:
        exit_after_signal("terminated", 128 + stop.signum)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        print(f"error: {type(error).__name__}: {printable(str(error))}", file=sys.stderr)
        print("hint: this error is unexpected; `gspo-lite --debug COMMAND` shows where it was raised", file=sys.stderr)
        if os.environ.get("GSPO_LITE_DEBUG"):
            traceback.print_exc()
        sys.exit(4 if "run" in sys.argv[1:2] else 1)


def exit_after_signal(how: str, code: int) -> None:
    """Say how the command ended and exit; the terminal may be closed already."""
    try:
        print(how, file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    sys.exit(code)


def tell(error: GspoLiteError) -> None:
    """Print an error for the user; of several processes that find the same usage error only the first prints it."""
    if error.exit_code == UsageError.exit_code and not is_main():
        return
    if os.environ.get("GSPO_LITE_DEBUG"):
        traceback.print_exc()
    print(f"error: {printable(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {printable(error.hint)}", file=sys.stderr)
