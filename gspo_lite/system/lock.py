"""One run per folder: a lock file with the process id. The kernel holds the lock, so a killed run releases it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gspo_lite.errors import UsageError
from gspo_lite.system.processes import is_main

LOCK = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder in the first process; afterwards remove folders created for it that stayed empty.

    Raises:
        UsageError: another process holds the lock, or the folder cannot be created or written to.
    """
    if not is_main():
        yield
        return
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        message = f"`output.dir` `{folder}` cannot be written to: {error.strerror}"
        raise UsageError(message, "choose another folder with --output") from error
    try:
        acquire(handle, folder)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(handle)
        with suppress(OSError):
            for one in missing:
                one.rmdir()


def acquire(handle: int, folder: Path) -> None:
    """Lock the open file and write this process's id into it."""
    try:
        # Not flock: a worker forked by a killed run would still hold the lock.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
        raise UsageError(
            f"`{folder}` is in use by process {owner or '(unknown)'}, another run of gspo-lite; nothing was changed",
            f"wait for it, stop it with `kill {owner}` (it saves a checkpoint), or choose another folder with --output",
        ) from None
    except OSError:
        refuse_living(handle, folder)  # a file system without locks
    if os.fstat(handle).st_nlink == 0:  # the previous run removed the file after it was opened here
        raise UsageError(f"a run in `{folder}` has just ended", "try again")
    os.truncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)


def refuse_living(handle: int, folder: Path) -> None:
    """Refuse a folder on a file system without locks if the process that last wrote its id is alive."""
    owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
    if owner.isdigit() and int(owner) != os.getpid() and Path(f"/proc/{owner}").exists():
        message = f"`{folder}` is in use by process {owner}; nothing was changed"
        raise UsageError(message, "choose another folder with --output")
