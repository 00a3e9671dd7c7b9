"""Silences the notices, warnings and progress bars of libraries: what matters of a run is printed by the run itself.

A notebook shows stderr as an error, and tqdm's bars need widgets that may not be installed.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

READ_AT_IMPORT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
CHATTY = ("bitsandbytes", "torchao")
FOR_DEVELOPERS = "torch.utils._pytree"  # notices about torchao


def quiet_libraries() -> None:
    """Silence libraries in this process, unless `GSPO_LITE_DEBUG` is set."""
    if os.environ.get("GSPO_LITE_DEBUG"):
        return
    warnings.filterwarnings("ignore")
    for name, value in READ_AT_IMPORT.items():
        os.environ.setdefault(name, value)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger(FOR_DEVELOPERS).disabled = True
    quiet_what_is_imported()


def quiet_what_is_imported() -> None:
    """Turn off the bars of libraries that a notebook imported first, which no longer read the environment."""
    loaded: dict[str, Any] = sys.modules
    if "transformers" in loaded:
        loaded["transformers"].utils.logging.set_verbosity_error()
        loaded["transformers"].utils.logging.disable_progress_bar()
    if "datasets" in loaded:
        loaded["datasets"].disable_progress_bars()


def quietly(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function during which libraries are silent; afterwards the caller's own code can warn again."""

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with warnings.catch_warnings():
            quiet_libraries()
            return function(*args, **kwargs)

    return quiet
