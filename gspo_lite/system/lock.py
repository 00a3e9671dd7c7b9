"""One run per folder: a lock file that names the process, held by the kernel, so that a killed run frees it.

Floor 0: the standard library only.
"""

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
    """Hold the run folder; folders made for it vanish again where nothing was put into them.

    Of several processes of one run the first holds it.

    Raises:
        UsageError: when another process has it, or the folder cannot be made or written to.
    """
    if not is_main():
        yield
        return
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"`output.dir` `{folder}` cannot be written to: {error.strerror}", "name another") from error
    try:
        take(handle, folder)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(handle)
        with suppress(OSError):
            for one in missing:
                one.rmdir()


def take(handle: int, folder: Path) -> None:
    """Lock the open file and write this process's number into it."""
    try:
        # Not flock: a worker forked by a killed run would still hold that.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
        raise UsageError(
            f"`{folder}` is in use by process {owner or '(unknown)'}, another run of gspo-lite; nothing was changed",
            f"wait for it, end it with `kill {owner}` (it saves a checkpoint), or name another folder with --output",
        ) from None
    except OSError:
        refuse_living(handle, folder)  # a file system without locks
    if os.fstat(handle).st_nlink == 0:  # its owner removed it between our opening and our locking
        raise UsageError(f"a run in `{folder}` has just ended", "try again")
    os.truncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)


def refuse_living(handle: int, folder: Path) -> None:
    """Where locks do not work: refuse when the process that wrote its number last is alive."""
    owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
    if owner.isdigit() and int(owner) != os.getpid() and Path(f"/proc/{owner}").exists():
        raise UsageError(f"`{folder}` is in use by process {owner}; nothing was changed", "name another folder")
