"""Finds the model that a name stands for, and explains why one cannot be loaded."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from gspo_lite.errors import MachineError, UsageError, first_line
from gspo_lite.models import gguf_file, smollm2, starter, starter_tools
from gspo_lite.system.progress import View, live
from gspo_lite.system.say import say

STARTERS = {one.NAME: one.starter_folder for one in (starter, starter_tools)}
ALLOWED = "a folder, a GGUF file, a hub id, `smollm2`, `starter` or `starter-tools`"


def resolve_name(name: str) -> str:
    """Return the folder of a local model, a GGUF file or a starter, made if needed; a hub id unchanged."""
    if name in STARTERS:
        return str(build_starter(name))
    if name == smollm2.NAME:
        name = smollm2.source()
    path = Path(name).expanduser()
    if gguf_file.is_gguf(name):
        return str(gguf_file.folder_of(path, name))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"`model.name` `{name}` is a folder without `config.json`, so it does not hold a model")
        return str(path)
    if looks_local(name):
        raise UsageError(f"`model.name`: there is no folder `{name}`", f"name {ALLOWED}")
    return name


def weights_of(name: str, resolved: str) -> dict[str, str]:
    """Return the sha256 of the file behind a model's name, or the hub id that `smollm2` stands for, by the name's end.

    Empty where the name says it all. A resumed run compares it.
    """
    found = gguf_file.sha256_of(resolved) or (resolved if name == smollm2.NAME else None)
    return {Path(name).name: found} if found else {}


def is_made_here(name: str) -> bool:
    """Return whether only this package knows the model of a name, or makes a folder of it."""
    return name in (*STARTERS, smollm2.NAME) or gguf_file.is_gguf(name)


def is_local_model(name: str) -> bool:
    """Return whether nothing has to be fetched for a model; raise MachineError if it can be had nowhere."""
    if name == smollm2.NAME:
        return not smollm2.must_be_fetched()
    return name in STARTERS or gguf_file.is_gguf(name) or looks_local(name) or Path(name).expanduser().is_dir()


def hub_id(name: str) -> str | None:
    """Return the hub id that a model's name stands for; None if the model is only on this machine."""
    if name == smollm2.NAME:
        return smollm2.HUB_ID
    return None if id_problem(name) or is_local_model(name) else name


def id_problem(name: str) -> str | None:
    """Return why a text cannot be the id of a repository on the hub; None if it can."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        return first_line(error)
    return None


def looks_local(name: str) -> bool:
    """Return whether a name is spelled like a path, and not like a hub id."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def build_starter(name: str) -> Path:
    """Return a starter's folder; show progress while it is built, once per machine."""
    views: list[View] = []
    with ExitStack() as closing:

        def show(done: int, total: int) -> None:
            if not views:
                say(f"building the {name} model (once; one to two minutes) ...")
                views.append(closing.enter_context(live("warm-up step", total, ends=False)))
            views[0].update(done)

        return STARTERS[name](show)


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
