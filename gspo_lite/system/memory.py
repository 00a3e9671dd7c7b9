"""Gives memory back when work ends in a process that goes on, as a notebook's kernel does."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gspo_lite.errors import GspoLiteError

LOGITS_AT_ONCE = 2**25  # tokens times vocabulary; in float32 128 MiB
P = ParamSpec("P")
R = TypeVar("R")


def memory_freed(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that leaves no model in memory, also when it is interrupted or ends in an explained error.

    A notebook keeps the last error, and its traceback keeps every local variable: model, gradients and optimizer, which
    the next run needs the room of. An unexpected error keeps them for the debugger.
    """

    @wraps(function)
    def freed(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (GspoLiteError, KeyboardInterrupt) as error:
            drop_locals(error)
            raise
        finally:
            collect()

    return freed


def drop_locals(error: BaseException | None) -> None:
    """Clear the local variables of every function that an error, or one that led to it, has left."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def collect() -> None:
    """Free what only cycles of references hold, and give unused GPU memory back."""
    gc.unfreeze()  # a cycle with an object that was alive while libraries were imported would never be found
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
