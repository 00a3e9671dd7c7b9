"""Finds the model that a name stands for, and explains why one cannot be loaded."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.models import starter
from gspo_lite.system.progress import View, live
from gspo_lite.system.say import say


def resolve_name(name: str) -> str:
    """Return the folder of a local model or of the starter, built if needed; a hub id unchanged."""
    if name == starter.NAME:
        return str(build_starter())
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"`model.name` `{name}` is a folder without `config.json`, so it does not hold a model")
        return str(path)
    if looks_local:
        raise UsageError(f"`model.name`: there is no folder `{name}`", "name a folder, a hub id or `starter`")
    return name


def build_starter() -> Path:
    """Return the starter's folder; show progress while it is built, once per machine."""
    views: list[View] = []
    with ExitStack() as closing:

        def show(done: int, total: int) -> None:
            if not views:
                say("building the starter model (once; one to two minutes) ...")
                views.append(closing.enter_context(live("warm-up step", total, ends=False)))
            views[0].update(done)

        return starter.starter_folder(show)


def explain(error: Exception, name: str) -> Exception:
    """Return a user's view of an error that occurred while loading a model; return a bug unchanged."""
    text = str(error).lower()
    gist = first_line(error)
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
            f"`model.name` `{name}` is neither a folder nor a hub model that you can access: {gist}",
            "check the name; for a gated model run `hf auth login` first; an adapter is named in model.adapter",
        )
    return error
