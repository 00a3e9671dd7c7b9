"""Finds the model a name stands for, and says in the user's words why one cannot be loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gspo_lite.errors import MachineError, UsageError
from gspo_lite.models import starter


def resolve_name(name: str) -> str:
    """Folder of a local model or of the starter, built if need be; a hub id as it is."""
    if name == starter.NAME:
        return str(build_starter())
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"`model.name` `{name}` is a folder without `config.json`, so it holds no model")
        return str(path)
    if looks_local:
        raise UsageError(f"`model.name`: there is no folder `{name}`", "name a folder, a hub id or `starter`")
    return name


def build_starter() -> Path:
    """The starter's folder; building it, once a machine, is shown."""
    from rich.console import Console
    from rich.progress import Progress

    if not sys.stderr.isatty():
        return starter.starter_folder(announce)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("building the starter model (once)", total=None, visible=False)
        return starter.starter_folder(lambda done, total: bar.update(task, completed=done, total=total, visible=True))


def announce(done: int, total: int) -> None:
    """Progress of the starter in plain lines."""
    if done == 1:
        print("building the starter model (once; one to two minutes) ...", file=sys.stderr, flush=True)
    elif done % (total // 5) == 0:
        print(f"  warm-up step {done}/{total}", file=sys.stderr, flush=True)


def explain(error: Exception, name: str) -> Exception:
    """The user's view of what went wrong while a model was loaded; a bug stays what it is."""
    text = str(error).lower()
    gist = str(error).strip().split("\n")[0][:200]
    if Path(name).expanduser().is_dir():
        return UsageError(f"`model.name` `{name}` cannot be loaded: {gist}", "its files may be incomplete or broken")
    unreachable = ("couldn't connect", "connection", "offline", "resolve", "cannot find the requested files")
    if os.environ.get("HF_HUB_OFFLINE") == "1" or any(words in text for words in unreachable):
        return MachineError(
            f"`model.name` `{name}` is not on this machine and the hub cannot be reached",
            "go online once, name a local folder, or use `--set model.name=starter`",
        )
    if isinstance(error, OSError):
        return UsageError(
            f"`model.name` `{name}` is neither a folder nor a model that the hub offers to you: {gist}",
            "check the name; for a gated model run `hf auth login` first",
        )
    return error
