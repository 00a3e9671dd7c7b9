"""Custom rewards: `module:function` or `file.py:function`, imported only when a run starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from gspo_lite.completion.text import Layout
from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.calling import SHARED
from gspo_lite.system.imports import FAULTS, load_code

BROUGHT = ("completions", "prompts", "completion_ids", *SHARED)  # passed to every call, unlike columns of the data


def load_custom(
    name: str, options: dict[str, Any], layout: Layout | None = None
) -> tuple[Callable[..., Any], str | None]:
    """Import a custom reward: a function, an instance with `__call__`, or a class that makes one.

    Args:
        options: keyword arguments of every call, or of the class.
        layout: of the recipe; a reward made by `@reward` follows it.

    Returns:
        The function with its options, and the sha256 of its file, where it has one.

    Raises:
        UsageError: file, module or function is missing, the code cannot be imported, or an option does not fit.
    """
    code = load_code(name, "reward")
    return with_options(code.found, name, options, layout), code.sha256


def with_options(found: Any, name: str, options: dict[str, Any], layout: Layout | None) -> Callable[..., Any]:
    """Return the function to call at every rollout."""
    if not callable(found):
        raise UsageError(f"reward `{name}` is a {type(found).__name__}, not a function")
    try:
        if hasattr(found, "with_options"):  # made by `@reward`
            return cast(Callable[..., Any], found.with_options(layout, **options))
        if not inspect.isclass(found):
            return bound(found, options) if options else found
        made = found(**options)
    except UsageError:
        raise
    except FAULTS as error:
        raise UsageError(f"reward `{name}` does not take these options: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise UsageError(f"reward `{name}` is a class whose instances cannot be called", "add a method `__call__`")
    return cast(Callable[..., Any], made)


def bound(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """Return the function with these options; raise TypeError if it does not have such a parameter."""
    inspect.signature(function).bind_partial(**options)
    return functools.partial(function, **options)


def needed_columns(function: Callable[..., Any]) -> list[str]:
    """Return the data columns that a function requires."""
    if hasattr(function, "columns"):  # made by `@reward`
        return list(function.columns)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds and p.name not in BROUGHT]
