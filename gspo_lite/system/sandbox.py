"""Runs a Python program in a process with limits: time, memory, output, processes, no environment, mostly no network.

A fence against accidents and endless loops, not a jail: the program runs as you and can read and change your files.
Where the machine allows it, namespaces of its own take network, other processes and their secrets out of its sight.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gspo_lite.errors import MachineError

logger = logging.getLogger(__name__)

NAMESPACES = ("--map-root-user", "--net", "--pid", "--fork", "--kill-child")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # their thread pools do not fit the memory limit
PROCESSES, OPEN_FILES = 32, 64
# Sets its limits before it reads a line of the program, because a limit set between fork and exec is not thread-safe.
START = """
import resource, sys
path, values = sys.argv[1], [int(value) for value in sys.argv[2:]]
kinds = resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE
for kind, value in zip((*kinds, resource.RLIMIT_CORE), (*values, 0)):
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
sys.argv = [path]
with open(path, encoding="utf-8") as file:
    program = compile(file.read(), path, "exec")
exec(program, {"__name__": "__main__", "__file__": path})
"""


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds of wall time and of CPU, bytes of address space, bytes of each file it writes."""

    seconds: float
    memory: int
    output: int


@dataclass(frozen=True)
class Outcome:
    """What became of a program: its exit status, None where its time was over, and what it wrote to stdout."""

    status: int | None
    output: str


def run_python(program: str, stdin: str, limits: Limits) -> Outcome:
    """Run a program by this Python within limits, alone in a temporary folder that is then removed.

    Raises:
        MachineError: where no such process can be started.
    """
    return run_behind(namespaces(), program, stdin, limits)


@cache
def namespaces() -> tuple[str, ...]:
    """The command that takes a process out of the network, where this machine has one that works; else nothing."""
    unshare = shutil.which("unshare")
    limits = Limits(seconds=20, memory=2**30, output=100)
    for command in ((unshare, *NAMESPACES), ()) if unshare else ((),):
        if run_behind(command, "print('ready')", "", limits).output == "ready\n":
            if not command:
                logger.warning("what a model writes runs with network: this machine allows no `unshare --net`")
            return command
    raise MachineError("no Python process can be started within limits on this machine")


def run_behind(command: tuple[str, ...], program: str, stdin: str, limits: Limits) -> Outcome:
    """`run_python` with a command in front."""
    folder = Path(tempfile.mkdtemp(prefix="gspo-lite-"))
    try:
        path, given, written, here = (folder / name for name in ("program.py", "stdin", "stdout", "here"))
        path.write_text(program, encoding="utf-8", errors="replace")
        given.write_text(stdin, encoding="utf-8", errors="replace")
        here.mkdir()
        # Time on the clock decides. The limit on CPU time stands behind it: a process that it ends may have any status.
        numbers = (math.ceil(limits.seconds) + 1, limits.memory, limits.output, PROCESSES, OPEN_FILES)
        call = [*command, sys.executable, "-I", "-B", "-c", START, str(path), *map(str, numbers)]
        with given.open("rb") as source, written.open("wb") as target:
            status = status_of(call, source.fileno(), target.fileno(), here, limits.seconds)
        with written.open("rb") as result:
            return Outcome(status, result.read(limits.output).decode("utf-8", errors="replace"))
    finally:
        removed(folder)


def status_of(call: list[str], stdin: int, stdout: int, folder: Path, seconds: float) -> int | None:
    """The exit status of a process; None where its time was over. Its whole group ends with it."""
    process = subprocess.Popen(
        call, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, cwd=folder, env=ENVIRONMENT, start_new_session=True
    )
    watched = os.pidfd_open(process.pid)
    try:
        waiting = select.poll()
        waiting.register(watched, select.POLLIN)
        ended = bool(waiting.poll(seconds * 1000))
    finally:
        os.close(watched)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
        status = process.wait()
    return status if ended else None


def removed(folder: Path) -> None:
    """Remove a folder, however deep a program nested it and whatever it forbade."""
    for _ in range(3):
        try:
            flattened(folder)
            return
        except OSError:
            time.sleep(0.1)  # a last process that is just ending may still have written
    logger.warning("a program's folder could not be removed: %s", folder)


def flattened(folder: Path) -> None:
    """Remove a tree level by level: each folder in it moves up before it is emptied, so no path grows long."""
    left, moved = [str(folder)], 0
    while left:
        here = left[-1]
        os.chmod(here, 0o700)
        for entry in list(os.scandir(here)):
            if entry.is_dir(follow_symlinks=False):
                moved += 1
                os.chmod(entry.path, 0o700)
                left.insert(0, os.path.join(folder.parent, f"{folder.name}-{moved}"))
                os.rename(entry.path, left[0])
            else:
                os.unlink(entry.path)
        os.rmdir(here)
        left.pop()
