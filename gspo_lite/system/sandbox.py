"""Runs a Python program in a process with limits on time, memory, output and processes, and an empty environment.

A fence against accidents and endless loops, not a jail: the program runs as you and can read and change your files.
Where the machine allows it, separate namespaces hide the network, other processes and their secrets from it.
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
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # larger thread pools exceed the memory limit
PROCESSES, OPEN_FILES = 32, 64
# Sets its own limits before it reads the program, because setting limits between fork and exec is not thread-safe.
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
    """Limits of a program: seconds of wall and CPU time, bytes of address space, bytes of each file it writes."""

    seconds: float
    memory: int
    output: int


@dataclass(frozen=True)
class Outcome:
    """Result of a program: its exit status, None after a timeout, and what it wrote to stdout."""

    status: int | None
    output: str


def run_python(program: str, stdin: str, limits: Limits) -> Outcome:
    """Run a program with this Python within limits, in a temporary folder that is then removed.

    Raises:
        MachineError: no such process can be started.
    """
    return run_behind(namespaces(), program, stdin, limits)


@cache
def namespaces() -> tuple[str, ...]:
    """Return the command that cuts a process off from the network, empty if it does not work on this machine."""
    unshare = shutil.which("unshare")
    limits = Limits(seconds=20, memory=2**30, output=100)
    for command in ((unshare, *NAMESPACES), ()) if unshare else ((),):
        if run_behind(command, "print('ready')", "", limits).output == "ready\n":
            if not command:
                logger.warning("model-written programs have network access: `unshare --net` does not work here")
            return command
    raise MachineError("cannot start a Python process with resource limits on this machine")


def run_behind(command: tuple[str, ...], program: str, stdin: str, limits: Limits) -> Outcome:
    """Run a program as `run_python` does, with a command in front."""
    folder = Path(tempfile.mkdtemp(prefix="gspo-lite-"))
    try:
        path, given, written, here = (folder / name for name in ("program.py", "stdin", "stdout", "here"))
        path.write_text(program, encoding="utf-8", errors="replace")
        given.write_text(stdin, encoding="utf-8", errors="replace")
        here.mkdir()
        # Wall time decides; the CPU limit, which may end a process with any status, is one second longer.
        numbers = (math.ceil(limits.seconds) + 1, limits.memory, limits.output, PROCESSES, OPEN_FILES)
        call = [*command, sys.executable, "-I", "-B", "-c", START, str(path), *map(str, numbers)]
        with given.open("rb") as source, written.open("wb") as target:
            status = status_of(call, source.fileno(), target.fileno(), here, limits.seconds)
        with written.open("rb") as result:
            return Outcome(status, result.read(limits.output).decode("utf-8", errors="replace"))
    finally:
        remove_folder(folder)


def status_of(call: list[str], stdin: int, stdout: int, folder: Path, seconds: float) -> int | None:
    """Return the exit status of a process, None after a timeout, and kill its whole process group."""
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
            os.killpg(process.pid, signal.SIGKILL)  # not yet reaped, so the id is still its own
        status = process.wait()
    return status if ended else None


def remove_folder(folder: Path) -> None:
    """Remove a folder, however deeply a program nested it and whatever permissions it took away."""
    for _ in range(3):
        try:
            remove_level_by_level(folder)
            return
        except OSError:
            time.sleep(0.1)  # a process that is just ending may still have written
    logger.warning("a program's folder could not be removed: %s", folder)


def remove_level_by_level(folder: Path) -> None:
    """Remove a tree, moving each folder in it up before emptying it, so that no path gets too long."""
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
