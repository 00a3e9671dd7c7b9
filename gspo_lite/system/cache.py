"""Folders that are made once per machine, such as a converted model: complete, or not there.

Owns how such a folder comes into being. Must not know what is in it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, renamed to `folder` in one step, so that a kill leaves nothing half-made there.

    Another process may be faster; its folder, which has the same content, is then kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def cache_home() -> Path:
    """Return the user's cache folder for this package: `GSPO_LITE_CACHE`, else under `XDG_CACHE_HOME` or `~/.cache`."""
    if "GSPO_LITE_CACHE" in os.environ:
        return Path(os.environ["GSPO_LITE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gspo-lite"
