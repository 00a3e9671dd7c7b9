"""math-verify in a worker process: a hard time limit from any thread, and a hang or crash that costs one answer.

math-verify guards itself with signal.alarm, which works in the main thread only and takes the user's own alarm away.
Here the parent waits for a reply on a pipe and kills the worker when none comes. The worker starts with the first
answer that needs it and ends with this process, however that ends.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import subprocess
import sys
import threading
from typing import Any

LIMIT = 2.0  # seconds for one answer
START_LIMIT = 60.0  # seconds for a worker to import its engine, on a slow disk
GRADES_PER_WORKER = 2000  # sympy's caches grow; a fresh worker every so often keeps memory flat

COMMAND = [sys.executable, "-m", "gspo_lite.rewards.grader_worker"]
logger = logging.getLogger(__name__)


class Worker:
    """One engine process; `ask` either answers in time or leaves the process dead."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.replies: queue.Queue[str] = queue.Queue()
        self.left = GRADES_PER_WORKER
        threading.Thread(target=self.listen, daemon=True).start()
        if self.reply(START_LIMIT) is None:
            raise RuntimeError("the grading worker does not start; try `python -m gspo_lite.rewards.grader_worker`")

    def listen(self) -> None:
        """Hand over every line the process prints; an empty one when it is gone."""
        for line in self.process.stdout or ():
            self.replies.put(line)
        self.replies.put("")

    def ask(self, answer: str, gold: str) -> bool | None:
        """The verdict, or None where the process died or took too long; then it is dead."""
        self.left -= 1
        try:
            self.process.stdin.write(json.dumps([answer, gold]) + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:  # it was killed from outside between two answers
            return None
        return self.reply(LIMIT)

    def reply(self, limit: float) -> Any:
        try:
            line = self.replies.get(timeout=limit)
        except queue.Empty:
            line = ""
        if not line:
            self.stop()
            return None
        return json.loads(line)

    @property
    def usable(self) -> bool:
        return self.process.poll() is None and self.left > 0

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


LOCK = threading.Lock()
CURRENT: list[Worker] = []


def verify(answer: str, gold: str) -> bool | None:
    """Whether math-verify finds two answers equal; None, with a warning, where it could not say in time."""
    with LOCK:
        if not (CURRENT and CURRENT[0].usable):
            stop()
            CURRENT.append(Worker())
        verdict = CURRENT[0].ask(answer, gold)
    if verdict is None:
        logger.warning(
            "grading took over %.0f s or its worker died; the answer counts as not judged: %r", LIMIT, answer[:80]
        )
    return verdict


@atexit.register
def stop() -> None:
    """End the worker; the next answer starts another."""
    while CURRENT:
        CURRENT.pop().stop()
