"""Imports the libraries for training, without the costs of what this process will not use.

    garbage collector  would walk thousands of modules, which are permanent, over and over
    torchao, wandb     are imported by transformers and TRL if they are installed
    torch's compiler   is imported whole for four decorators of fallbacks in bitsandbytes, which has CPU kernels

Must not know training; imports trl only if the caller names it.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gspo_lite.models.names import STARTERS
from gspo_lite.models.weights import bitsandbytes_works
from gspo_lite.recipe.schema import Recipe
from gspo_lite.system.stopping import deferred

OPTIONAL = ("torchao", "wandb")


def import_libraries(modules: Iterable[str], unused: Iterable[str] = ()) -> None:
    """Import these modules in order; do nothing if transformers has been imported already.

    Args:
        unused: libraries that this process can no longer import, so name them only if it serves a single run.
    """
    if "transformers" in sys.modules:
        return
    hide(unused)
    with deferred(), collector_paused():
        with compiler_disabled():
            bitsandbytes_works()  # imports it
        for module in modules:
            importlib.import_module(module)


def unused_libraries(recipe: Recipe) -> list[str]:
    """Return those of `OPTIONAL` that neither recipe nor model mentions; FP8 and models of the hub may need torchao."""
    name, text = recipe.model.name, recipe.model_dump_json()
    config = Path(name).expanduser() / "config.json"
    if recipe.model.load_in_fp8 or (name not in STARTERS and not config.is_file()):
        text += "torchao"
    elif name not in STARTERS:
        text += config.read_text(encoding="utf-8")
    return [one for one in OPTIONAL if one not in text]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause garbage collection; treat the objects created in this context as permanent."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def hide(libraries: Iterable[str]) -> None:
    """Make these libraries look as if they were not installed, unless they are imported already.

    They stay hidden: at every checkpoint TRL checks again for wandb, and would use it without having imported it.
    """
    loaded: dict[str, Any] = sys.modules
    for name in libraries:
        loaded.setdefault(name, None)  # Python's own marker for a module that cannot be imported


@contextmanager
def compiler_disabled() -> Iterator[None]:
    """Make `torch.compile` return functions unchanged if there is no GPU to compile for."""
    import torch

    if torch.cuda.is_available():
        yield
        return

    def unchanged(function: Any = None, **_: Any) -> Any:
        return unchanged if function is None else function

    compiles, torch.compile = torch.compile, unchanged
    try:
        yield
    finally:
        torch.compile = compiles
