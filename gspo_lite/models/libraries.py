"""Imports what training stands on, without what this process will not use.

    the collector      stands still meanwhile: it would walk thousands of modules, which stay to the end, over and over
    torchao, wandb     transformers and TRL import them wherever they are installed
    torch's compiler   is imported whole for four decorators of bitsandbytes' fallback functions, for which a CPU has
                       kernels of its own

Must not know training, and imports trl only by what it is handed.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gspo_lite.models.starter import NAME as STARTER
from gspo_lite.models.weights import bitsandbytes_works
from gspo_lite.recipe.schema import Recipe

OPTIONAL = ("torchao", "wandb")


def import_libraries(modules: Iterable[str], unused: Iterable[str] = ()) -> None:
    """Import these modules; where another has imported transformers before, it is left as it is.

    Args:
        modules: in their order.
        unused: libraries that are not to be found in this process from now on, so only one that serves a single run
            may leave something out.
    """
    if "transformers" in sys.modules:
        return
    hide(unused)
    with collector_at_rest():
        with compiler_at_rest():
            bitsandbytes_works()  # imports it
        for module in modules:
            importlib.import_module(module)


def unused_libraries(recipe: Recipe) -> list[str]:
    """Those of `OPTIONAL` that neither the recipe nor its model mentions; a model of the hub may need any."""
    name = recipe.model.name
    config = Path(name).expanduser() / "config.json"
    if name != STARTER and not config.is_file():
        return [one for one in OPTIONAL if one != "torchao" and one not in recipe.model_dump_json()]
    text = recipe.model_dump_json() + (config.read_text(encoding="utf-8") if name != STARTER else "")
    return [one for one in OPTIONAL if one not in text]


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """No garbage collection meanwhile; what has come into being is taken to stay."""
    working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if working:
            gc.enable()


def hide(libraries: Iterable[str]) -> None:
    """Let these libraries look as if they were not installed, unless they are imported already.

    They stay hidden: TRL asks at every checkpoint anew whether wandb is there, and then uses what it has not imported.
    """
    loaded: dict[str, Any] = sys.modules
    for name in libraries:
        loaded.setdefault(name, None)  # Python's own sign for "not to be had"


@contextmanager
def compiler_at_rest() -> Iterator[None]:
    """Let `torch.compile` hand functions back as they are, where there is no GPU to compile for."""
    import torch

    if torch.cuda.is_available():
        yield
        return

    def as_it_is(function: Any = None, **_: Any) -> Any:
        return as_it_is if function is None else function

    compiles, torch.compile = torch.compile, as_it_is
    try:
        yield
    finally:
        torch.compile = compiles
