"""Custom rewards: `module:function` or `file.py:function`, imported when a run starts and not before."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from gspo_lite.errors import UsageError
from gspo_lite.rewards.contract.calling import SHARED

BROUGHT = ("completions", "prompts", "completion_ids", *SHARED)  # with every call, unlike columns of the data


def is_custom(name: str) -> bool:
    """Whether a reward's name points to code instead of the registry."""
    return ":" in name


def missing_custom(name: str) -> str | None:
    """What is wrong with a custom name as far as can be seen without importing it."""
    home, _, function = name.rpartition(":")
    if not home or not function.isidentifier():
        return f"`{name}` is not of the form `module:function` or `file.py:function`"
    if home.endswith(".py") and not Path(home).expanduser().is_file():
        return f"there is no file `{home}`"
    return None


@dataclass(frozen=True)
class CustomReward:
    """A reward from a user's code: the function with its options, the columns it needs, its file's sha256."""

    function: Callable[..., Any]
    columns: list[str]
    sha256: str | None


def load_custom(name: str, options: dict[str, Any], marker: str | None = None) -> CustomReward:
    """Import a custom reward: a function, an instance with `__call__`, or a class that makes one.

    Args:
        options: keyword arguments given to it at every call, or to a class when its instance is made.
        marker: of the recipe's prompt, which a reward made by `@reward` follows.

    Raises:
        UsageError: when file, module or function is missing, the code cannot be imported, or an option does not fit.
    """
    home, _, attribute = name.rpartition(":")
    path = Path(home).expanduser() if home.endswith(".py") else None
    module = import_file(path, name) if path else import_named(home, name)
    found = getattr(module, attribute, None)
    if found is None:
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise UsageError(f"reward `{name}`: `{home}` has no `{attribute}`; it has {', '.join(there) or 'no functions'}")
    function = with_options(found, name, options, marker)
    file = path or source_file(found, module)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest() if file else None
    return CustomReward(function, needed_columns(function), sha256)


def with_options(found: Any, name: str, options: dict[str, Any], marker: str | None) -> Callable[..., Any]:
    """What is called at every rollout."""
    if not callable(found):
        raise UsageError(f"reward `{name}` is a {type(found).__name__}, not a function")
    try:
        if hasattr(found, "with_options"):  # made by `@reward`
            return cast(Callable[..., Any], found.with_options(marker, **options))
        if not inspect.isclass(found):
            return bound(found, options) if options else found
        made = found(**options)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"reward `{name}` does not take these options: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise UsageError(f"reward `{name}` is a class whose instances cannot be called", "give it `__call__`")
    return cast(Callable[..., Any], made)


def bound(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The function with these options; TypeError where it has no such parameter."""
    inspect.signature(function).bind_partial(**options)
    return functools.partial(function, **options)


def needed_columns(function: Callable[..., Any]) -> list[str]:
    """Data columns that a function cannot be called without."""
    if hasattr(function, "columns"):  # made by `@reward`
        return list(function.columns)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return [name for name in needed if name not in BROUGHT]


def source_file(found: Any, module: ModuleType) -> Path | None:
    """The file that holds a reward, which may stand in another one than the module that names it."""
    found = getattr(found, "function", found)  # made by `@reward`
    definition = found if inspect.isclass(found) or inspect.isroutine(found) else type(found)
    try:
        name = inspect.getsourcefile(inspect.unwrap(definition))
    except TypeError:  # written in C
        name = getattr(module, "__file__", None)
    return Path(name) if name and Path(name).is_file() else None


def import_file(path: Path, name: str) -> ModuleType:
    """Run a file as a module of its own."""
    if not path.is_file():
        raise UsageError(f"reward `{name}`: there is no file `{path}`")
    specification = importlib.util.spec_from_file_location(f"gspo_lite_custom_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    try:
        specification.loader.exec_module(module)  # type: ignore[union-attr]
    except SyntaxError as error:
        raise UsageError(f"reward `{name}`: {path}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), 1
        )
        raise UsageError(f"reward `{name}`: {path}:{line}: {type(error).__name__}: {error}") from error
    return module


def import_named(module: str, name: str) -> ModuleType:
    """Import an installed module."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reward `{name}`: there is no module `{error.name}`", "for a file write `file.py:function`"
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"reward `{name}`: `{module}` cannot be imported: {type(error).__name__}: {error}") from error
