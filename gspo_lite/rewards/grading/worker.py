"""The process behind `grader.py`: reads `[answer, gold, seconds]` as JSON lines and writes true, false or null.

It imports math-verify and sympy once and grades in a forked child, which the kernel ends when it has used up its CPU
time, so that a verdict does not depend on what else the machine does. A child takes a few milliseconds to replace.
This process itself never parses hostile text.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Callable

MEMORY = 384 * 2**20  # bytes of address space of a child; an answer that needs more ends it
GRADES_PER_CHILD = 500  # sympy's caches grow; a fresh child every so often keeps memory flat
PATIENCE = 20.0  # seconds on the clock for each second of CPU time, before a child that waits or starves is killed
PR_SET_PDEATHSIG = 1

Judge = Callable[[str, str], bool]


def main() -> None:
    """Grade until the parent ends."""
    die_with_parent()
    logging.disable(logging.CRITICAL)
    judge = load_judge()
    judge("x+\\frac{1}{2}", "\\frac{1}{2}+x")  # fills the parser's tables, which every child then shares
    print("ready", flush=True)
    child: Child | None = None
    for line in sys.stdin:
        answer, gold, seconds = json.loads(line)
        if child is None or child.left == 0:
            if child:
                child.kill()
            child = Child(judge)
        verdict = child.ask(answer, gold, seconds)
        if verdict is None:
            child.kill()
            child = None
        print(json.dumps(verdict), flush=True)


def load_judge() -> Judge:
    """Return the function that compares two answers; its import brings sympy, which the parent must not need."""
    from gspo_lite.rewards.grading.answers import same_answer
    from gspo_lite.rewards.grading.symbolic import same_value

    return lambda answer, gold: same_answer(answer, gold, same_value)


def die_with_parent() -> None:
    """End together with the process or thread that started this one, even if that is killed."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere the closed pipe ends the loop
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A forked process that judges one pair at a time, in bounded memory."""

    def __init__(self, judge: Judge):
        self.left = GRADES_PER_CHILD
        questions, self.questions = os.pipe()
        self.verdicts, verdicts = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.questions)
            os.close(self.verdicts)
            try:
                answer_all(judge, questions, verdicts)
            finally:
                os._exit(1)  # out of memory or of stack: the parent sees the pipe close
        os.close(questions)
        os.close(verdicts)

    def ask(self, answer: str, gold: str, seconds: float) -> bool | None:
        """Return the verdict; None if `seconds` of CPU time ran out or the child died or waited."""
        self.left -= 1
        with contextlib.suppress(BrokenPipeError):
            os.write(self.questions, (json.dumps([answer, gold, seconds]) + "\n").encode())
            if select.select([self.verdicts], [], [], PATIENCE * seconds)[0]:
                return {b"1": True, b"0": False}.get(os.read(self.verdicts, 1))
        return None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.questions)
        os.close(self.verdicts)


def answer_all(judge: Judge, questions: int, verdicts: int) -> None:
    """Judge pairs in the child; an error on untrusted text means a wrong answer, except for a lack of memory."""
    die_with_parent()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in os.fdopen(questions):
        answer, gold, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process unless something handles it
        try:
            verdict = judge(answer, gold)
        except MemoryError:
            return
        except Exception:
            verdict = False
        os.write(verdicts, b"1" if verdict else b"0")


if __name__ == "__main__":
    main()
