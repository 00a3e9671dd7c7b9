"""The parent's side of grading formulas: one worker process, a hard limit of CPU time from any thread, no signals.

math-verify limits its time by signal.alarm, which works only in the main thread and replaces the user's own alarm.
Here a worker process (`worker.py`) grades in a child that it can kill, and this side kills a worker that does not
answer either. The worker starts with the first answer that needs it, or earlier, and ends with this process.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from gspo_lite.errors import MachineError
from gspo_lite.rewards.grading.worker import PATIENCE

LIMIT = 1.8  # seconds of CPU time for one answer
SHORTEST = 0.25  # seconds of CPU time, down to which each answer that runs out of it halves the limit in its batch
GRACE = 10.0  # seconds on the clock, beyond the worker's own patience, after which it counts as dead itself
START_LIMIT = 180.0  # seconds on the clock for the worker to import its engine, on a slow disk or a busy machine

# The parent's own import path: `python -m` would put the current directory first, and with it any `queue.py` there.
CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gspo_lite.rewards.grading.worker import main; main()"
)
logger = logging.getLogger(__name__)


def command() -> list[str]:
    """Return the command that starts a worker."""
    return [sys.executable, "-c", CODE, json.dumps(sys.path)]


class Worker:
    """A process that grades; `ask` answers in time or leaves it dead."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.started: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        # Linux ends the worker with the thread that started it, so the same thread reads its output until it ends.
        threading.Thread(target=self.live, daemon=True).start()
        self.process = self.started.get()
        if self.line(START_LIMIT) != "ready\n":
            self.stop()
            raise MachineError(
                "the grader for mathematical answers does not start",
                "run `python -m gspo_lite.rewards.grading.worker` to see why; it needs `pip install math-verify`",
            )

    def live(self) -> None:
        """Start the process and queue every line that it prints, then an empty one."""
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        # A new session, so that Ctrl-C in a terminal reaches the run but not its worker.
        with subprocess.Popen(
            command(), stdin=pipe, stdout=pipe, stderr=nothing, text=True, bufsize=1, start_new_session=True
        ) as process:
            self.started.put(process)
            for line in process.stdout or ():
                self.lines.put(line)
        self.lines.put("")

    def line(self, limit: float) -> str:
        """Return the next line; empty if none came in time or the process has ended."""
        try:
            return self.lines.get(timeout=limit)
        except queue.Empty:
            return ""

    def ask(self, answer: str, gold: str, limit: float) -> bool | None:
        """Return the verdict; None if it took more than `limit` seconds of CPU time or a process died."""
        try:
            print(json.dumps([answer, gold, limit]), file=self.process.stdin, flush=True)
        except OSError:  # killed from outside between two answers
            return None
        line = self.line(PATIENCE * limit + GRACE)
        if not line:
            self.stop()
            return None
        verdict: bool | None = json.loads(line)
        return verdict

    @property
    def usable(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


LOCK = threading.Lock()
CURRENT: list[Worker] = []


def verify_all(pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
    """Return whether each spelled (answer, gold) is equal; None, with a warning, if it took too long or crashed."""
    limit = LIMIT
    verdicts: dict[tuple[str, str], bool | None] = {}
    with LOCK:
        for pair in dict.fromkeys(pairs):
            verdicts[pair] = worker().ask(*pair, limit)
            if verdicts[pair] is None:
                logger.warning("an answer is left unjudged because grading took too long or crashed: %.80r", pair[0])
                limit = max(limit / 2, SHORTEST)
    return [verdicts[pair] for pair in pairs]


def worker() -> Worker:
    """Return the running worker, or start one."""
    if not (CURRENT and CURRENT[0].usable):
        stop()
        CURRENT.append(Worker())
    return CURRENT[0]


def start_ahead() -> None:
    """Start the worker in the background; the first answer that needs it reports what is wrong with it."""

    def start() -> None:
        with LOCK, suppress(MachineError, OSError):
            worker()

    threading.Thread(target=start, daemon=True).start()


@atexit.register
def stop() -> None:
    """End the worker; the next answer starts another."""
    while CURRENT:
        CURRENT.pop().stop()


def forget() -> None:
    """Forget the parent's worker after a fork, so that this process starts its own."""
    global LOCK
    LOCK = threading.Lock()
    CURRENT.clear()


os.register_at_fork(after_in_child=forget)
